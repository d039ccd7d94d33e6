package main

import (
	"context"
	"fmt"
	"time"
)

// memory measures the leader's resident memory without Runs and with finished ones, each in a freshly started process.
func (b *bench) memory(ctx context.Context) error {
	if b.finished == nil {
		o, err := b.newOverhead(ctx, nil)
		if err != nil {
			return err
		}
		logf("one run, to have its like")
		if _, err := o.conductorRun(ctx, ""); err != nil {
			return err
		}
		if b.ranMiB, err = b.resident(ctx); err != nil {
			return err
		}
	}
	if err := b.forget(ctx); err != nil {
		return err
	}
	if err := b.restartWith(ctx, 0); err != nil {
		return err
	}
	empty, err := b.resident(ctx)
	if err != nil {
		return err
	}
	if err := b.restartWith(ctx, b.held); err != nil {
		return err
	}
	full, err := b.resident(ctx)
	if err != nil {
		return err
	}
	b.printf("\n## Memory of the leader\n\n| resident, MiB | |\n|---|---|\n| just begun, no Run | %.1f |\n| just begun, %d finished Runs | %.1f (%.2f times) |\n"+
		"| one more Run | %.3f |\n| having run %d, none left | %.1f |\n", empty, b.held, full, full/empty, (full-empty)/float64(b.held), b.ran, b.ranMiB)
	b.printf("\nThe Runs are copies of one that examples/shop made. They are held, not run, by this process.\n")
	return b.forget(ctx)
}

// restartWith restarts Conductor with n finished Runs and waits until the leader has reconciled each and is idle.
func (b *bench) restartWith(ctx context.Context, n int) error {
	if err := b.scale(ctx, 0); err != nil {
		return err
	}
	if _, err := b.plant(ctx, b.finished, n); err != nil {
		return err
	}
	if err := b.scale(ctx, 2); err != nil {
		return err
	}
	leader, err := b.leader(ctx)
	if err != nil {
		return err
	}
	return poll(ctx, time.Minute, fmt.Sprintf("the leader to hold %d runs", n), func(ctx context.Context) (bool, error) {
		text, err := b.podMetrics(ctx, leader)
		if err != nil {
			return false, err
		}
		seen := total(text, "controller_runtime_reconcile_total", `controller="run"`)
		waiting := total(text, "workqueue_depth", `controller="run"`)
		return seen >= float64(n) && waiting == 0, nil
	})
}

// resident is the median of the leader's resident memory over ten seconds, in MiB.
func (b *bench) resident(ctx context.Context) (float64, error) {
	leader, err := b.leader(ctx)
	if err != nil {
		return 0, err
	}
	var seen []float64
	for range 10 {
		text, err := b.podMetrics(ctx, leader)
		if err != nil {
			return 0, err
		}
		seen = append(seen, total(text, "process_resident_memory_bytes")/(1<<20))
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(time.Second):
		}
	}
	return median(seen), nil
}
