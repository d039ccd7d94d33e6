// Package house holds the rules of this repository that a compiler does not know: who may import whom, what a package must say
// about itself, what may stand in a committed file, and what the chart gives Conductor. Its tests need no cluster.
package house
