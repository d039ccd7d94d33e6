package result

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

const (
	// grain is how much memory is asked for at a time, in bytes.
	grain = 64 << 10
	// caseSize is what a case takes without its texts: once in the list that grows and once in the list that is made of it.
	caseSize = 2 * int64(unsafe.Sizeof(evidence.Case{}))
	// wordSize is what a word takes that several cases share, without its text: an entry of a map.
	wordSize = 48
)

// Grow asks for bytes of memory, and is answered whether there are as many. Negative ones are given back.
type Grow func(bytes int64) bool

// budget is the memory of one suite's result. What it holds was asked for before.
type budget struct {
	grow       Grow
	held, used int64
}

// take reports whether there is room for so many bytes more, which are then used.
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

// free gives bytes back that were taken.
func (b *budget) free(bytes int64) { b.used -= bytes }

// settle gives back what was asked for in vain.
func (b *budget) settle() {
	b.grow(b.used - b.held)
	b.held = b.used
}

// keeper holds the cases of a suite in their order: bad ones, flaky ones, the rest. Where memory ends, the names of failing tests are
// worth more than cases that passed, and than texts. What is missing is counted.
type keeper struct {
	budget
	// words are classes and files, which many cases share.
	words            map[string]string
	bad, flaky, rest []evidence.Case
	// badTexts and flakyTexts are the indexes of those bad and flaky cases that have their whole text.
	badTexts, flakyTexts []int
	// restSize is what rest takes without its words, restWords what the words take that came with it.
	restSize, restWords int64
	// spare gives memory back that is worth less than a failing test's name, where there is some; it may be nil.
	spare func()
	// short counts the bad cases beyond evidence.MaxTexts, silent those whose texts found no memory, dropped the cases that found none.
	short, silent, dropped int
}

// add keeps one case as far as there is room.
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

// text gives a bad case its texts where it is among the first that have one. They come before those of flaky cases.
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

// shorten takes the text of the last case that has one, but for the beginning of its message. It reports whether that made room.
func (k *keeper) shorten(cases []evidence.Case, texts *[]int) bool {
	n := len(*texts) - 1
	c := &cases[(*texts)[n]]
	*texts = (*texts)[:n]
	whole := textSize(*c)
	short := cut(c.Message, evidence.MaxBrief)
	setText(c, evidence.Case{Message: short})
	k.free(whole - int64(len(short)))
	return int64(len(short)) < whole
}

// mute leaves out texts that find no memory.
func (k *keeper) mute(c *evidence.Case, whole evidence.Case) {
	if k.message(c, whole.Message); textSize(*c) < textSize(whole) {
		k.silent++
	}
}

// message gives a case the beginning of its message, where there is room for that.
func (k *keeper) message(c *evidence.Case, message string) {
	if short := cut(message, evidence.MaxBrief); k.take(int64(len(short))) {
		c.Message = short
	}
}

// makeRoom takes so many bytes, and those of its words, for a bad case: from cases that passed or were skipped, from what can be spared, then
// from texts.
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

// dropRest gives up the cases that passed or were skipped, and the words that they alone have once these are worth a search.
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

// unknown is what those words of a case take that are not among the words yet.
func (k *keeper) unknown(c evidence.Case) int64 {
	size := int64(0)
	for i, word := range []string{c.Class, c.File} {
		if _, known := k.words[word]; !known && word != "" && (i == 0 || word != c.Class) {
			size += wordSize + int64(len(word))
		}
	}
	return size
}

// word is the one copy of a word.
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

// cases are all that are kept, bad ones first.
func (k *keeper) cases() []evidence.Case {
	all := slices.Concat(k.bad, k.flaky, k.rest)
	k.free(int64(len(all)) * caseSize / 2)
	k.bad, k.flaky, k.rest, k.words = nil, nil, nil, nil
	return all
}

// notes say what is missing.
func (k *keeper) notes() []string {
	var all []string
	add := func(n int, what, why string) {
		if n > 0 {
			all = append(all, fmt.Sprintf("%s of %s %s", what, text.Plural(n, "failing test"), why))
		}
	}
	const full = "left out: the memory for test results (memory.results) is full. The JUnit files in the record have all of them"
	add(k.short, "The texts", fmt.Sprintf("are shortened: those of the first %d are kept. The JUnit files in the record have all of them", evidence.MaxTexts))
	add(k.silent, "The texts", "were "+full)
	if k.dropped > 0 {
		all = append(all, fmt.Sprintf("%s were counted but %s", text.Plural(k.dropped, "test case"), full))
	}
	return all
}

// trim holds a case within the limits of one. An agent is not trusted with them.
func trim(c evidence.Case) evidence.Case {
	c.Class, c.Name, c.File = cut(c.Class, maxIdentity), cut(c.Name, maxIdentity), cut(c.File, maxIdentity)
	c.Message, c.Detail, c.Output = cut(c.Message, evidence.MaxMessage), cut(c.Detail, evidence.MaxDetail), cut(c.Output, evidence.MaxOutput)
	switch c.Status { // The constants' own bytes are kept, and not a copy for each case.
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

// maxIdentity bounds a case's class, name and file, in bytes.
const maxIdentity = 1 << 10

func textSize(c evidence.Case) int64 { return int64(len(c.Message) + len(c.Detail) + len(c.Output)) }

func setText(c *evidence.Case, from evidence.Case) {
	c.Message, c.Detail, c.Output = from.Message, from.Detail, from.Output
}
