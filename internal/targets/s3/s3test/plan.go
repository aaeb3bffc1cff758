package s3test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
)

// Always is more often than there are requests.
const Always = 1 << 30

// Faults gives so many random ones, each at some requests of one kind, and says what they are.
func (s *Server) Faults(random *rand.Rand, n int) (rules []Rule, told []string) {
	for range n {
		op := []string{"put", "put", "create", "part", "complete", "head", "head", "get", "list", "delete", "uploads", "abort"}[random.IntN(12)]
		name, fault := s.fault(random)
		skip, times := random.IntN(6), []int{1, 1, 2, 6, Always}[random.IntN(5)]
		rules = append(rules, Rule{op, skip, Pass}, Rule{op, times, fault})
		told = append(told, fmt.Sprintf("%s at %s after %d, %d times", name, op, skip, times))
	}
	return rules, told
}

func (s *Server) fault(random *rand.Rand) (string, Doing) {
	after := random.IntN(2000)
	faults := []struct {
		name string
		do   Doing
	}{
		{"SlowDown", Refuse(http.StatusServiceUnavailable, "SlowDown")},
		{"an internal error", Refuse(http.StatusInternalServerError, "InternalError")},
		{"a denial", Refuse(http.StatusForbidden, "AccessDenied")},
		{"a full disk", Refuse(http.StatusInsufficientStorage, "InsufficientStorage")},
		{"a reset", Reset},
		{"a lost answer", LoseAnswer},
		{"an answer that is cut off", CutOff(after)},
		{"a success that is none", Nothing},
		{"an object that is cut off", s.Truncated},
		{"an old story", OldStory()},
		{"the mark of another object", OtherETag},
	}
	f := faults[random.IntN(len(faults))]
	return f.name, f.do
}
