// Package nearest finds the word that a user probably meant.
package nearest

import "strings"

// maxLength is the longest word that is compared, since a longer one is not a typo.
const maxLength = 64

// Word returns the word of known that is nearest to word, or "" if none is near: at most a third of the letters may differ. The first
// of equally near words wins.
func Word(word string, known []string) string {
	if len(word) > maxLength {
		return ""
	}
	best, least := "", 0
	for _, k := range known {
		d := distance(strings.ToLower(word), strings.ToLower(k))
		if d <= max(1, min(len(k), len(word))/3) && d < len(k) && (best == "" || d < least) {
			best, least = k, d
		}
	}
	return best
}

// distance returns the number of letters to insert, delete, replace or swap with a neighbor to turn a into b: the optimal string
// alignment distance, which is Levenshtein's with swaps.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range y {
		rows[0][j+1] = j + 1
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}
