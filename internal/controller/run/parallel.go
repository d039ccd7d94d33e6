package run

import (
	"errors"
	"sync"
)

// each calls do for every item, at most eight at a time, and joins the errors.
func each[T any](items []T, do func(T) error) error {
	errs := make([]error, len(items))
	tokens := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for i, item := range items {
		wg.Add(1)
		tokens <- struct{}{}
		go func() {
			defer func() { <-tokens; wg.Done() }()
			errs[i] = do(item)
		}()
	}
	wg.Wait()
	return errors.Join(errs...)
}
