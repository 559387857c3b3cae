// Package suggest finds what somebody has probably meant by a name that does
// not exist. It has no goroutines.
package suggest

import "strings"

// Nearest returns the known name that is nearest to a word, or "" when none is
// near: at most a third of the letters differ. Case, "_" and "-" do not count.
func Nearest(word string, known []string) string {
	word = plain(word)
	nearest, least := "", max(2, len(word)/3)+1
	for _, name := range known {
		if d := distance(word, plain(name)); d < least {
			nearest, least = name, d
		}
	}
	return nearest
}

func plain(s string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s))
}

// distance is how many letters have to be changed, added or left out
// (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
