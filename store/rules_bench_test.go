package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"ratebook/money"
	"ratebook/rating"
	"ratebook/store"
)

// BenchmarkEditRules measures the creation of one mapping after the other, in a database with a number of them.
func BenchmarkEditRules(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		for _, there := range []int{0, 10_000} {
			b.Run(fmt.Sprintf("%s/%d there", database, there), func(b *testing.B) {
				ctx := context.Background()
				s, err := store.Open(ctx, benchDatabase(b, database), true, slog.New(slog.DiscardHandler))
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				if _, err := s.Migrate(ctx); err != nil {
					b.Fatal(err)
				}
				n := 0
				mapping := func() rating.Rule {
					n++
					return rating.Rule{Kind: rating.Mapping, Service: "cpu", Field: "flavor", Value: fmt.Sprint("m", n), Type: rating.Flat, Cost: money.New(int64(n), 3)}
				}
				_, err = s.EditRules(ctx, "bench", "", func(r *rating.Rules) (*rating.Rules, error) {
					next, _, err := r.AddService("cpu")
					for range there {
						rule := mapping()
						rule.ID = fmt.Sprintf("%x%06d", n*7919%16, n)
						next.Hashmap = append(next.Hashmap, rule)
					}
					if err == nil {
						next, _, err = next.Add(mapping())
					}
					return next, err
				})
				if err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					_, err := s.EditRules(ctx, "bench", "", func(r *rating.Rules) (*rating.Rules, error) {
						next, _, err := r.Add(mapping())
						return next, err
					})
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
