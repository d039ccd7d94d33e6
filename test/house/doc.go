// Package house tests the rules of this repository that the compiler does not: which package may import which, package comments, the
// content of committed files, plain words, and the chart's values. Its tests need no cluster.
package house
