package report

import (
	"fmt"
	"html"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// zeroWidth is put where GitHub would see a mention or a reference. GitHub looks for them in the rendered text, so that
// neither a backslash nor an entity for the @ itself would help.
const zeroWidth = "&#8203;"

var (
	// ansi are terminal escape sequences: CSI, OSC and two-character ones (ECMA-48, 5.3 to 5.6).
	ansi = regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])`)
	// special are the characters that can begin something in a line of GitHub's Markdown.
	special = regexp.MustCompile("[\\\\`*_\\[\\]<>&|~$#@!]")
	// leading is what would begin a list, a heading or a rule at the beginning of a block.
	leading = regexp.MustCompile(`^(\d*)([-+=.)])`)
	// address is where GitHub would make a link of its own accord.
	address = regexp.MustCompile(`(?i)(https?|ftp|mailto|xmpp):|www\.`)
	// reference is GH-1, a reference to an issue.
	reference = regexp.MustCompile(`(?i)\b(gh-)(\d)`)
)

// text makes one line of at most max characters of s in which Markdown has no meaning.
func text(s string, max int) string {
	s = cut(Plain(s), max)
	s = special.ReplaceAllStringFunc(s, func(c string) string {
		if c == "@" || c == "#" {
			return `\` + c + zeroWidth
		}
		return `\` + c
	})
	s = address.ReplaceAllStringFunc(s, func(a string) string { return a[:len(a)-1] + `\` + a[len(a)-1:] })
	s = reference.ReplaceAllString(s, "$1"+zeroWidth+"$2")
	return leading.ReplaceAllString(s, `$1\$2`)
}

// code makes a code span of a name. A name that holds what could end the span or the table cell around it is written as text.
func code(s string) string {
	s = cut(Plain(s), 120)
	if s == "" {
		return ""
	}
	if strings.ContainsAny(s, "`|\\") {
		return text(s, 120)
	}
	return "`" + s + "`"
}

// fence makes a code block of the end of a log, at most max bytes of it.
func fence(log string, max int) string {
	log = strings.TrimRight(clean(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(log)), "\n ")
	if len(log) > max {
		log = log[len(log)-max:]
		for len(log) > 0 && !utf8.RuneStart(log[0]) {
			log = log[1:]
		}
		if i := strings.IndexByte(log, '\n'); i >= 0 && i < len(log)-1 {
			log = log[i+1:]
		}
		log = "(the beginning is left out)\n" + log
	}
	ticks := "```"
	for strings.Contains(log, ticks) {
		ticks += "`"
	}
	return ticks + "text\n" + log + "\n" + ticks
}

// linkable is an address without credentials, query or anything else that Markdown could read otherwise.
var linkable = regexp.MustCompile(`^https?://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[A-Za-z0-9._%+/-]*)?$`)

// link makes a link of an http(s) address, and leaves the label alone for anything else.
func link(label, address string) string {
	if !linkable.MatchString(address) {
		return label
	}
	return "[" + label + "](" + address + ")"
}

// escapeHTML is for the few places inside an HTML tag, where Markdown has no meaning but < and & have.
func escapeHTML(s string) string { return html.EscapeString(cut(Plain(s), 120)) }

// Plain is s as a terminal can show it: on one line, with single spaces, without escape sequences and control characters.
func Plain(s string) string { return strings.Join(strings.Fields(clean(s)), " ") }

// clean takes out what a terminal acts on and what could show other text than there is: escape sequences, control
// characters, marks that turn the direction of writing. Bytes that are not UTF-8 become U+FFFD.
func clean(s string) string {
	s = ansi.ReplaceAllString(strings.ToValidUTF8(s, "\uFFFD"), "")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069, r == 0x200E, r == 0x200F, r == 0x2028, r == 0x2029:
			return -1
		}
		return r
	}, s)
}

// cut shortens s to at most max characters.
func cut(s string, max int) string {
	if utf8.RuneCountInString(s) <= max {
		return s
	}
	return strings.TrimRight(string([]rune(s)[:max-1]), " ") + "…"
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
