package result

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

const (
	// grain is how much memory is requested at a time, in bytes.
	grain = 64 << 10
	// caseSize is the memory of a case without its texts: once in the list that grows and once in the final list.
	caseSize = 2 * int64(unsafe.Sizeof(evidence.Case{}))
	// wordSize is the memory of a shared word without its text: a map entry.
	wordSize = 48
)

// Grow requests memory, in bytes, and reports whether it is granted. A negative number returns memory.
type Grow func(bytes int64) bool

// budget is the memory of one suite's result: held was granted, used is in use.
type budget struct {
	grow       Grow
	held, used int64
}

// take reserves bytes and reports whether it succeeded.
func (b *budget) take(bytes int64) bool {
	if more := b.used + bytes - b.held; more > 0 {
		asked := max(more, grain)
		if !b.grow(asked) {
			if asked = more; !b.grow(asked) {
				return false
			}
		}
		b.held += asked
	}
	b.used += bytes
	return true
}

// free releases reserved bytes.
func (b *budget) free(bytes int64) { b.used -= bytes }

// settle returns granted memory that is not in use.
func (b *budget) settle() {
	b.grow(b.used - b.held)
	b.held = b.used
}

// keeper holds the cases of a suite in order: failed ones, flaky ones, the others. When memory runs out, the names of failed tests have
// priority over passed cases and over texts. keeper counts what it drops.
type keeper struct {
	budget
	// words holds classes and files, which many cases share.
	words            map[string]string
	bad, flaky, rest []evidence.Case
	// badTexts and flakyTexts are the indexes of the failed and flaky cases that have their full text.
	badTexts, flakyTexts []int
	// restSize is the memory of rest without its words, restWords that of the words added with it.
	restSize, restWords int64
	// spare, if set, frees memory that is less important than a failed test's name.
	spare func()
	// short counts the failed cases beyond evidence.MaxTexts, silent those whose texts did not fit into memory, dropped the cases that did
	// not fit at all.
	short, silent, dropped int
}

// add keeps one case, as far as memory allows.
func (k *keeper) add(c evidence.Case) {
	c = trim(c)
	whole := c
	c.Message, c.Detail, c.Output = "", "", ""
	size, words := caseSize+int64(len(c.Name)), k.unknown(c)
	if !k.take(size+words) && !(c.Status.Bad() && k.makeRoom(size, c)) {
		k.dropped++
		return
	}
	c.Class, c.File = k.word(c.Class), k.word(c.File)
	switch {
	case c.Status.Bad():
		k.text(&c, whole)
		k.bad = append(k.bad, c)
	case c.Flaky:
		switch {
		case len(k.badTexts)+len(k.flakyTexts) == evidence.MaxTexts:
			k.message(&c, whole.Message)
		case k.take(textSize(whole)):
			setText(&c, whole)
			k.flakyTexts = append(k.flakyTexts, len(k.flaky))
		default:
			k.mute(&c, whole)
		}
		k.flaky = append(k.flaky, c)
	default:
		before := k.used
		k.message(&c, whole.Message)
		k.restSize += size + k.used - before
		k.restWords += words
		k.rest = append(k.rest, c)
	}
}

// text sets the texts of a failed case, if it is among the first that have them. Failed cases have priority over flaky ones.
func (k *keeper) text(c *evidence.Case, whole evidence.Case) {
	if len(k.badTexts) == evidence.MaxTexts || whole.Cut {
		if k.message(c, whole.Message); whole.Cut || textSize(*c) < textSize(whole) {
			c.Cut = true
			k.short++
		}
		return
	}
	if len(k.badTexts)+len(k.flakyTexts) == evidence.MaxTexts {
		k.shorten(k.flaky, &k.flakyTexts)
	}
	if k.take(textSize(whole)) {
		setText(c, whole)
		k.badTexts = append(k.badTexts, len(k.bad))
		return
	}
	k.mute(c, whole)
}

// shorten reduces the texts of the last case that has them to a short message. It reports whether that freed memory.
func (k *keeper) shorten(cases []evidence.Case, texts *[]int) bool {
	n := len(*texts) - 1
	c := &cases[(*texts)[n]]
	*texts = (*texts)[:n]
	whole := textSize(*c)
	short := truncate(c.Message, evidence.MaxBrief)
	setText(c, evidence.Case{Message: short})
	k.free(whole - int64(len(short)))
	return int64(len(short)) < whole
}

// mute drops texts that do not fit into memory.
func (k *keeper) mute(c *evidence.Case, whole evidence.Case) {
	if k.message(c, whole.Message); textSize(*c) < textSize(whole) {
		k.silent++
	}
}

// message sets a short message, if it fits into memory.
func (k *keeper) message(c *evidence.Case, message string) {
	if short := truncate(message, evidence.MaxBrief); k.take(int64(len(short))) {
		c.Message = short
	}
}

// makeRoom reserves memory for a failed case and its words. To free memory it drops, in order, cases that passed or were skipped, what
// spare can free, and texts.
func (k *keeper) makeRoom(bytes int64, c evidence.Case) bool {
	k.dropRest()
	if k.spare != nil {
		k.spare()
	}
	bytes += k.unknown(c)
	for !k.take(bytes) {
		switch {
		case len(k.flakyTexts) > 0:
			k.silent += count(k.shorten(k.flaky, &k.flakyTexts))
		case len(k.badTexts) > 0:
			k.silent += count(k.shorten(k.bad, &k.badTexts))
		default:
			return false
		}
	}
	return true
}

// dropRest drops the cases that passed or were skipped, and the words that only they use if those are large enough to be worth a
// search.
func (k *keeper) dropRest() {
	k.dropped += len(k.rest)
	k.free(k.restSize)
	k.rest, k.restSize = nil, 0
	if k.restWords <= k.held/64 {
		return
	}
	unused := k.words
	k.words, k.restWords = map[string]string{}, 0
	for _, cases := range [][]evidence.Case{k.bad, k.flaky} {
		for _, c := range cases {
			delete(unused, c.Class)
			delete(unused, c.File)
			k.word(c.Class)
			k.word(c.File)
		}
	}
	for word := range unused {
		k.free(wordSize + int64(len(word)))
	}
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// unknown returns the memory of a case's words that are not shared yet.
func (k *keeper) unknown(c evidence.Case) int64 {
	size := int64(0)
	for i, word := range []string{c.Class, c.File} {
		if _, known := k.words[word]; !known && word != "" && (i == 0 || word != c.Class) {
			size += wordSize + int64(len(word))
		}
	}
	return size
}

// word returns the shared copy of a word.
func (k *keeper) word(word string) string {
	if have, known := k.words[word]; known || word == "" {
		return have
	}
	if k.words == nil {
		k.words = map[string]string{}
	}
	k.words[word] = word
	return word
}

// cases returns all cases, failed ones first.
func (k *keeper) cases() []evidence.Case {
	all := slices.Concat(k.bad, k.flaky, k.rest)
	k.free(int64(len(all)) * caseSize / 2)
	k.bad, k.flaky, k.rest, k.words = nil, nil, nil, nil
	return all
}

// notes describes what was dropped.
func (k *keeper) notes() []string {
	var all []string
	add := func(n int, what, why string) {
		if n > 0 {
			all = append(all, fmt.Sprintf("%s of %s %s", what, text.Plural(n, "failing test"), why))
		}
	}
	const full = "left out: the memory for test results (memory.results) is full. The test reports in the record have all of them"
	add(k.short, "The texts", fmt.Sprintf("are shortened: those of the first %d are kept. The test reports in the record have all of them", evidence.MaxTexts))
	add(k.silent, "The texts", "were "+full)
	if k.dropped > 0 {
		all = append(all, fmt.Sprintf("%s were counted but %s", text.Plural(k.dropped, "test case"), full))
	}
	return all
}

// trim enforces the limits of a case, since agents are not trusted.
func trim(c evidence.Case) evidence.Case {
	c.Class, c.Name, c.File = truncate(c.Class, maxIdentity), truncate(c.Name, maxIdentity), truncate(c.File, maxIdentity)
	c.Message, c.Detail, c.Output = truncate(c.Message, evidence.MaxMessage), truncate(c.Detail, evidence.MaxDetail), truncate(c.Output, evidence.MaxOutput)
	switch c.Status { // Use the constants, which need no memory for each case.
	case evidence.Passed:
		c.Status = evidence.Passed
	case evidence.Skipped:
		c.Status = evidence.Skipped
	case evidence.Failed:
		c.Status = evidence.Failed
	default:
		c.Status = evidence.Error
	}
	if !c.Status.Bad() && !c.Flaky {
		c.Detail, c.Output = "", ""
	}
	return c
}

// maxIdentity limits a case's class, name and file, in bytes.
const maxIdentity = 1 << 10

func textSize(c evidence.Case) int64 { return int64(len(c.Message) + len(c.Detail) + len(c.Output)) }

func setText(c *evidence.Case, from evidence.Case) {
	c.Message, c.Detail, c.Output = from.Message, from.Detail, from.Output
}
