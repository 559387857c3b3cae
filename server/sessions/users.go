package sessions

import "sync"

// Users counts the users of all sessions on this node; each guest is one. It
// goes through all of them. Never call it on a loop.
func (all *Sessions) Users() int {
	var (
		mu     sync.Mutex
		guests int
		names  = make(map[string]struct{})
		wg     sync.WaitGroup
	)
	for _, ln := range all.lanes {
		wg.Add(1)
		ln.loop.Post(func() {
			here, known := 0, []string(nil) // no loop waits while another counts
			ln.each(func(s *session) {
				if s.name() == "" {
					here++
				} else {
					known = append(known, s.name())
				}
			})
			go func() { // ends when the names are added
				defer wg.Done()
				mu.Lock()
				defer mu.Unlock()
				guests += here
				for _, name := range known {
					names[name] = struct{}{}
				}
			}()
		})
	}
	wg.Wait()
	return guests + len(names)
}
