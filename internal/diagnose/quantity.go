package diagnose

import (
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

func zero() resource.Quantity { return resource.Quantity{} }

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// sameQuantity reports whether two texts are the same quantity; a text that is not a quantity equals nothing.
func sameQuantity(a, b string) bool {
	x, errX := resource.ParseQuantity(a)
	y, errY := resource.ParseQuantity(b)
	return errX == nil && errY == nil && x.Cmp(y) == 0
}
