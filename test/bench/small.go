package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// makeSmall makes 50,000 files of 1 to 16 KiB, the same each time: half of them logs, a quarter records, a quarter random bytes.
func makeSmall(dir string) error {
	random := rand.NewChaCha8([32]byte{1})
	r := rand.New(random)
	words := make([]string, 4000)
	for i := range words {
		words[i] = word(r)
	}
	for n := range 50_000 {
		name := filepath.Join(dir, fmt.Sprintf("a%02d/b%02d/f%07d.log", n/2500, n/100%25, n))
		if n%100 == 0 {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				return err
			}
		}
		size := 1<<10 + r.IntN(15<<10)
		var data []byte
		switch n % 4 {
		case 0:
			data = make([]byte, size)
			random.Read(data) // which never fails
		case 1:
			data = text(size, func() string {
				return fmt.Sprintf(`{"id":%d,"name":%q,"value":%.4f,"tags":[%q,%q]}`, r.Uint32(), pick(r, words), r.Float64()*1e4, pick(r, words), pick(r, words))
			})
		default:
			data = text(size, func() string {
				line := fmt.Sprintf("2026-06-%02d %02d:%02d:%02d", 1+r.IntN(30), r.IntN(24), r.IntN(60), r.IntN(60))
				for range 4 + r.IntN(12) {
					line += " " + pick(r, words)
				}
				return line
			})
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func word(r *rand.Rand) string {
	letters := make([]byte, 2+r.IntN(9))
	for i := range letters {
		letters[i] = "eeetttaaooiinnsshhrrdlucmfwypvbgkjqxz"[r.IntN(37)]
	}
	return string(letters)
}

// pick takes the first words more often, as languages do.
func pick(r *rand.Rand, words []string) string {
	return words[int(float64(len(words))*r.Float64()*r.Float64()*r.Float64())]
}

func text(size int, line func() string) []byte {
	var b bytes.Buffer
	for b.Len() < size {
		fmt.Fprintln(&b, line())
	}
	return b.Bytes()[:size]
}
