package report

import (
	"html"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/w3evolutionsllc/conductor/internal/text"
)

// zeroWidth breaks what GitHub would take for a mention or a reference. GitHub searches the rendered text for them, so
// neither a backslash nor an entity for the @ itself would help.
const zeroWidth = "&#8203;"

var (
	// ansi are terminal escape sequences: CSI, OSC and two-character ones (ECMA-48, 5.3 to 5.6).
	ansi = regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])`)
	// special are the characters that can begin something in a line of GitHub's Markdown.
	special = strings.NewReplacer(
		`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", `\<`, ">", `\>`, "&", `\&`, "|", `\|`, "~", `\~`,
		"$", `\$`, "!", `\!`, "#", `\#`+zeroWidth, "@", `\@`+zeroWidth)
	// leading matches what would begin a list, a heading or a rule at the start of a block.
	leading = regexp.MustCompile(`^(\d*)([-+=.)])`)
	// address matches what GitHub would turn into a link.
	address = regexp.MustCompile(`(?i)(https?|ftp|mailto|xmpp):|www\.`)
	// reference matches GH-1, a reference to an issue.
	reference = regexp.MustCompile(`(?i)\b(gh-)(\d)`)
)

// inline returns s as one line of at most max characters with all Markdown escaped.
func inline(s string, max int) string {
	s = oneLine(s, max)
	s = special.Replace(s)
	s = address.ReplaceAllStringFunc(s, func(a string) string { return a[:len(a)-1] + `\` + a[len(a)-1:] })
	s = reference.ReplaceAllString(s, "$1"+zeroWidth+"$2")
	return leading.ReplaceAllString(s, `$1\$2`)
}

// code makes a code span of a name. A name with characters that could end the span or its table cell becomes plain text.
func code(s string) string { return codeOf(s, 120) }

// codeOf is code with another maximum length, in characters.
func codeOf(s string, max int) string {
	s = oneLine(s, max)
	if s == "" {
		return ""
	}
	if strings.ContainsAny(s, "`|\\") {
		return inline(s, max)
	}
	return "`" + s + "`"
}

// lines normalizes line ends.
var lines = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// fence makes a code block of the end of a log, at most max bytes of it.
func fence(log string, max int) string {
	log, whole := tail(log, 2*max)
	log = strings.TrimRight(clean(lines.Replace(log)), "\n ")
	if cut, all := tail(log, max); !all || !whole {
		if _, rest, found := strings.Cut(cut, "\n"); found {
			cut = rest
		}
		log = "(beginning truncated)\n" + cut
	}
	return fenced(log)
}

// fenceHead makes a code block of the beginning of a text, at most max bytes of it.
func fenceHead(s string, max int) string {
	s, whole := head(s, 2*max)
	s = strings.TrimRight(clean(lines.Replace(s)), "\n ")
	if cut, all := head(s, max); !all || !whole {
		s = cut + "\n(rest truncated)"
	}
	return fenced(s)
}

// clip returns the beginning of a text of several lines, at most max characters of it, without what a terminal interprets.
func clip(s string, max int) string {
	s = strings.TrimRight(clean(lines.Replace(text.Head(s, 8*max))), "\n ")
	return cut(s, max)
}

// fenced encloses a text in fences longer than any run of backticks in it.
func fenced(s string) string { return fencedAs("text", s) }

// fencedAs is fenced for a text in a language.
func fencedAs(language, s string) string {
	longest, run := 2, 0
	for i := range len(s) {
		if run++; s[i] != '`' {
			run = 0
		}
		longest = max(longest, run)
	}
	ticks := strings.Repeat("`", longest+1)
	return ticks + language + "\n" + s + "\n" + ticks
}

// head returns at most max bytes of the beginning of s, cut between characters, and whether that is all of it.
func head(s string, max int) (string, bool) { return text.Head(s, max), len(s) <= max }

// tail returns at most max bytes of the end of s, cut between characters, and whether that is all of it.
func tail(s string, max int) (string, bool) { return text.Tail(s, max), len(s) <= max }

// linkable matches an address without credentials, query or characters special to Markdown; it may end with a line anchor.
var linkable = regexp.MustCompile(`^https?://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[A-Za-z0-9._%+/-]*(#L[0-9]+)?)?$`)

// maxAddress is the longest address that becomes a link, in bytes.
const maxAddress = 2048

// link makes a link of an http(s) address; for anything else it returns the label.
func link(label, address string) string {
	if len(address) > maxAddress || !linkable.MatchString(address) {
		return label
	}
	return "[" + label + "](" + address + ")"
}

// escapeHTML is for text inside an HTML element, where Markdown is not interpreted but < and & are.
func escapeHTML(s string) string { return html.EscapeString(oneLine(s, 120)) }

// Plain returns s in a form safe for terminals: on one line, with single spaces, without escape sequences and control characters.
func Plain(s string) string { return strings.Join(strings.Fields(clean(s)), " ") }

// oneLine returns at most max characters of s on one line. A very long text is cut before it is cleaned, to bound the work.
func oneLine(s string, max int) string {
	s, whole := head(s, 16*max)
	s = Plain(s)
	if !whole {
		s += "…"
	}
	return cut(s, max)
}

// clean removes what a terminal interprets and what could make text appear different: escape sequences, control
// characters and bidirectional marks. Invalid UTF-8 becomes U+FFFD.
func clean(s string) string {
	if simple(s) {
		return s
	}
	s = ansi.ReplaceAllString(strings.ToValidUTF8(s, "\uFFFD"), "")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069, r == 0x061C, r == 0x200E, r == 0x200F, r == 0x2028, r == 0x2029:
			return -1
		}
		return r
	}, s)
}

// simple reports whether s is printable ASCII, as most texts are.
func simple(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' || c >= 0x7f) && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
}

// cut shortens s to at most max characters.
func cut(s string, max int) string {
	if utf8.RuneCountInString(s) <= max {
		return s
	}
	return strings.TrimRight(string([]rune(s)[:max-1]), " ") + "…"
}
