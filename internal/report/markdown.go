package report

import (
	"html"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/w3evolutionsllc/conductor/internal/text"
)

// zeroWidth is put where GitHub would see a mention or a reference. GitHub looks for them in the rendered text, so that
// neither a backslash nor an entity for the @ itself would help.
const zeroWidth = "&#8203;"

var (
	// ansi are terminal escape sequences: CSI, OSC and two-character ones (ECMA-48, 5.3 to 5.6).
	ansi = regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])`)
	// special are the characters that can begin something in a line of GitHub's Markdown.
	special = strings.NewReplacer(
		`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", `\<`, ">", `\>`, "&", `\&`, "|", `\|`, "~", `\~`,
		"$", `\$`, "!", `\!`, "#", `\#`+zeroWidth, "@", `\@`+zeroWidth)
	// leading is what would begin a list, a heading or a rule at the beginning of a block.
	leading = regexp.MustCompile(`^(\d*)([-+=.)])`)
	// address is where GitHub would make a link of its own accord.
	address = regexp.MustCompile(`(?i)(https?|ftp|mailto|xmpp):|www\.`)
	// reference is GH-1, a reference to an issue.
	reference = regexp.MustCompile(`(?i)\b(gh-)(\d)`)
)

// inline makes one line of at most max characters of s in which Markdown has no meaning.
func inline(s string, max int) string {
	s = oneLine(s, max)
	s = special.Replace(s)
	s = address.ReplaceAllStringFunc(s, func(a string) string { return a[:len(a)-1] + `\` + a[len(a)-1:] })
	s = reference.ReplaceAllString(s, "$1"+zeroWidth+"$2")
	return leading.ReplaceAllString(s, `$1\$2`)
}

// code makes a code span of a name. A name that holds what could end the span or the table cell around it is written as text.
func code(s string) string { return codeOf(s, 120) }

// codeOf is code with a length of its own, in characters.
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

// lines gives all lines one kind of end, before they are cleaned.
var lines = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// fence makes a code block of the end of a log, at most max bytes of it.
func fence(log string, max int) string {
	log, whole := tail(log, 2*max)
	log = strings.TrimRight(clean(lines.Replace(log)), "\n ")
	if cut, all := tail(log, max); !all || !whole {
		if _, rest, found := strings.Cut(cut, "\n"); found {
			cut = rest
		}
		log = "(the beginning is left out)\n" + cut
	}
	return fenced(log)
}

// fenceHead makes a code block of the beginning of a text, at most max bytes of it.
func fenceHead(s string, max int) string {
	s, whole := head(s, 2*max)
	s = strings.TrimRight(clean(lines.Replace(s)), "\n ")
	if cut, all := head(s, max); !all || !whole {
		s = cut + "\n(the rest is left out)"
	}
	return fenced(s)
}

// fenced puts a text between fences that are longer than any in it.
func fenced(s string) string {
	longest, run := 2, 0
	for i := range len(s) {
		if run++; s[i] != '`' {
			run = 0
		}
		longest = max(longest, run)
	}
	ticks := strings.Repeat("`", longest+1)
	return ticks + "text\n" + s + "\n" + ticks
}

// head is at most max bytes of the beginning of s, cut between characters, and whether that is all of it.
func head(s string, max int) (string, bool) { return text.Head(s, max), len(s) <= max }

// tail is at most max bytes of the end of s, cut between characters, and whether that is all of it.
func tail(s string, max int) (string, bool) { return text.Tail(s, max), len(s) <= max }

// linkable is an address without credentials, query or anything else that Markdown could read otherwise; it may end with a line.
var linkable = regexp.MustCompile(`^https?://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[A-Za-z0-9._%+/-]*(#L[0-9]+)?)?$`)

// maxAddress is the longest address that becomes a link, in bytes.
const maxAddress = 2048

// link makes a link of an http(s) address, and leaves the label alone for anything else.
func link(label, address string) string {
	if len(address) > maxAddress || !linkable.MatchString(address) {
		return label
	}
	return "[" + label + "](" + address + ")"
}

// escapeHTML is for the few places inside an HTML tag, where Markdown has no meaning but < and & have.
func escapeHTML(s string) string { return html.EscapeString(oneLine(s, 120)) }

// Plain is s as a terminal can show it: on one line, with single spaces, without escape sequences and control characters.
func Plain(s string) string { return strings.Join(strings.Fields(clean(s)), " ") }

// oneLine is at most max characters of s on one line. What is far too long is cut first, so that no one's text costs time.
func oneLine(s string, max int) string {
	s, whole := head(s, 16*max)
	s = Plain(s)
	if !whole {
		s += "…"
	}
	return cut(s, max)
}

// clean takes out what a terminal acts on and what could show other text than there is: escape sequences, control
// characters, marks that turn the direction of writing. Bytes that are not UTF-8 become U+FFFD.
func clean(s string) string {
	if simple(s) {
		return s
	}
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

// simple says that s is printable ASCII in lines, as most texts are.
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
