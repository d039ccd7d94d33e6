//go:build apiserver && !gauntlet

package gauntlet

// full is set for the sizes of `make gauntlet`.
const full = false
