// Package spelling guesses which known word somebody meant who wrote an unknown one.
package spelling

import "slices"

// tooLong keeps a hostile word from costing time: no known one is nearly as long.
const tooLong = 100

// Nearest gives the known word that the fewest edits lead to, the first of several, or "" when none is near enough to be worth
// a guess: a third of its letters, at most.
func Nearest(word string, known []string) string {
	best, fewest := "", tooLong
	if len(word) > tooLong {
		return best
	}
	for _, k := range known {
		if n := edits(word, k); n < fewest && n <= max(1, len(k)/3) {
			best, fewest = k, n
		}
	}
	return best
}

// edits counts how many bytes must be inserted, removed, exchanged or swapped with their neighbour to make one word of another
// (the optimal string alignment distance).
func edits(a, b string) int {
	// Row i holds the distances between a[:i] and every beginning of b; three rows are enough.
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = slices.Min([]int{last[j] + 1, row[j-1] + 1, last[j-1] + cost})
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
