package writer

func runChild(string) {}
