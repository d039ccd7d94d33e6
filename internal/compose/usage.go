package compose

import (
	"iter"
	"path"
	"regexp"
	"strings"
)

// usage is how a text uses a name.
type usage int

const (
	// notHost is a use as something else, such as a database, a user, a path or a key.
	notHost usage = iota
	// unclear is a use that could be a host.
	unclear
	// isHost is a use whose context proves that it is a host.
	isHost
)

// phrase is a text in which names of hosts are searched.
type phrase struct {
	text string
	// key is the variable whose value the text is, or the flag before an argument; empty without one.
	key string
	// isCommand is set for what is run, isProgram if a program's name begins it.
	isCommand, isProgram bool
	// isOwn is set for what checks or prepares the container that runs it: a health check, a hook.
	isOwn bool
	// file is the path of the mounted file whose content the text is; empty for others.
	file string
}

// argument is an element of a command as a phrase.
func argument(args []string, i int) phrase {
	p := phrase{text: args[i], isCommand: true, isProgram: i == 0}
	if i > 0 && strings.HasPrefix(args[i-1], "-") {
		p.key = args[i-1]
		p.isProgram = shellFlag.MatchString(p.key)
	}
	return p
}

// shellFlag matches the flags before a shell's script: -c, -ec, -lc.
var shellFlag = regexp.MustCompile(`^-[a-z]{0,4}c$`)

// words yields the offsets of the words of a text. Names of hosts have letters, digits, dots, dashes and underscores, so that a name is always
// a whole word.
func words(text string) iter.Seq2[int, int] {
	return func(yield func(from, to int) bool) {
		for i := 0; i < len(text); {
			if !isNameByte[text[i]] {
				i++
				continue
			}
			from := i
			for i < len(text) && isNameByte[text[i]] {
				i++
			}
			if !yield(from, i) {
				return
			}
		}
	}
}

var isNameByte = func() (is [256]bool) {
	for _, b := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") {
		is[b] = true
	}
	return is
}()

const (
	spaces = " \t\n\f\r"
	quotes = `"'` + "`"
	// maxContext is how many bytes around a word are read at most, so that the time stays linear in the text.
	maxContext = 512
)

func beginsWith(text, chars string) bool {
	return text != "" && strings.IndexByte(chars, text[0]) >= 0
}

func endsWith(text, chars string) bool {
	return text != "" && strings.IndexByte(chars, text[len(text)-1]) >= 0
}

// usage classifies the word at these offsets by its context. A name that is rewritten although it is not a host breaks what works, so only
// proof counts as isHost.
func (p phrase) usage(from, to int) usage {
	before, word, after := p.text[max(0, from-maxContext):from], p.text[from:to], p.text[to:min(len(p.text), to+maxContext)]
	switch {
	case isRemote(before, word, after), isServer(before, after):
		return isHost
	case isPart(before, after):
		return notHost
	}
	key, sep := keyBefore(before)
	use := p.suggested(key, sep, before, after)
	switch {
	case hasPort(before, after) && use == notHost:
		return unclear
	case hasPort(before, after):
		return isHost
	case beginsWith(after, "/") && use == isHost:
		return unclear
	case beginsWith(after, "/"):
		return notHost
	case p.file != "":
		return usageInFile(p.file, use, key, sep, before, after)
	case use == unclear && p.isRun(before):
		return notHost
	}
	return use
}

// isRemote reports whether a word is the host of a URL, scheme://HOST or user@HOST, or of a MySQL data source name, tcp(HOST).
func isRemote(before, word, after string) bool {
	switch {
	case strings.HasSuffix(before, "://"), strings.HasSuffix(before, "tcp("):
	case !strings.HasSuffix(before, "@"), len(before) < 2, endsWith(before[:len(before)-1], spaces+quotes+"(,="):
		return false
	case strings.Contains(word, ".") && !strings.Contains(before[strings.LastIndexAny(before, spaces+quotes)+1:], "://") && !hasPort(before, after):
		// An e-mail address.
		return false
	}
	rest := after
	if i := strings.IndexAny(rest, "/?#,;)]}"+spaces+quotes); i >= 0 {
		rest = rest[:i]
	}
	switch {
	case strings.Contains(rest, "@"):
		// The word is the user.
		return false
	case strings.HasPrefix(after, ":"):
		return len(after) > 1 && strings.IndexByte("0123456789${", after[1]) >= 0
	}
	return after == "" || beginsWith(after, `/?#,;)]}&|>\`+spaces+quotes)
}

// isServer reports whether a word is what nginx calls a server of an upstream: server HOST;
func isServer(before, after string) bool {
	end := strings.TrimLeft(after, spaces)
	if !strings.HasPrefix(end, ";") || !strings.HasSuffix(strings.TrimRight(before, spaces), "server") {
		return false
	}
	word := strings.TrimSuffix(strings.TrimRight(before, spaces), "server")
	last := byte(' ')
	if word != "" {
		last = word[len(word)-1]
	}
	return len(strings.TrimRight(before, spaces)) < len(before) && (!isNameByte[last] || last == '-' || last == '.')
}

// hasPort reports whether a port follows a word, and the word begins an address: HOST:PORT.
func hasPort(before, after string) bool {
	return portAfter(after) != "" && (before == "" || endsWith(before, `@,;="'[(`+spaces) || strings.HasSuffix(before, "//"))
}

// portAfter is the port that follows a host, or empty. In user:1@host and topic:1:1 the number is none.
func portAfter(after string) string {
	if !strings.HasPrefix(after, ":") {
		return ""
	}
	n := 1
	for n < len(after) && after[n] >= '0' && after[n] <= '9' {
		n++
	}
	if n == 1 || n > 6 || n < len(after) && (isNameByte[after[n]] || after[n] == '@' || after[n] == ':') {
		return ""
	}
	return after[1:n]
}

// isPart reports whether a word is a part of something that is not a host: a path, a variable, a key, a call, a user or a tag.
func isPart(before, after string) bool {
	switch {
	case strings.HasSuffix(before, "/") && !strings.HasSuffix(before, "//"), endsWith(before, `$\~*@:%#`), strings.HasSuffix(before, "${"),
		strings.HasSuffix(before, secretBegin), beginsWith(after, "=(@*["):
		return true
	case strings.HasPrefix(after, ":"):
		return portAfter(after) == "" && !beginsWith(after[1:], "$")
	case beginsWith(after, quotes):
		next := strings.TrimLeft(after[1:], " ")
		return beginsWith(next, ":@") || strings.HasPrefix(next, "=>")
	}
	return false
}

// keyBefore is what names a value that follows before, and what separates them: a sign (KEY=, KEY:) or a space (--flag, or any word).
func keyBefore(before string) (key string, sep byte) {
	text := strings.TrimRight(before, spaces+quotes)
	hasSpace := len(text) < len(before)
	if signless := strings.TrimRight(text, ":=>"); len(signless) < len(text) {
		sep = '='
		if text[len(signless):] == ":" {
			sep = ':'
		}
		text = strings.TrimRight(signless, spaces+quotes+"]")
	} else if hasSpace {
		sep = ' '
	} else {
		return "", 0
	}
	from := len(text)
	for from > 0 && isNameByte[text[from-1]] {
		from--
	}
	key = text[from:]
	if strings.EqualFold(key, "source") && strings.EqualFold(text[max(0, from-5):from], "data ") {
		key = "data source"
	}
	if key == "" {
		return "", 0
	}
	return key, sep
}

var (
	// hostKey matches keys whose values are hosts: DB_HOST=, --db-host, spring.redis.host=, Data Source=. hostWord matches those for which that
	// also holds before a colon, as in YAML and JSON.
	hostKey  = regexp.MustCompile(`(?:^|[-_.])(?i:host[-_]?name|hostaddr|hosts?|servers?|addr|address|brokers?)$|[a-z](?:Host|Hostname|HostName)$|^(?i:data source)$`)
	hostWord = regexp.MustCompile(`(?:^|[-_.])(?i:host[-_]?name|host)$|[a-z](?:Host|Hostname|HostName)$`)
	// purpose finds in a key what suggests that its value is a host, the first group, something else, the second, or neither: USER_SERVICE. The
	// last match decides.
	purpose = regexp.MustCompile(`(?i)(host[-_.]?name|host|addr|server|endpoint|broker|upstream|url)|` +
		`(vhost|user|database|catalog|schema|topic|queue|bucket|project|name|passw|secret|image|label|title|realm|tenant|exchange|channel|keyspace|collection|version|prefix|origin|` +
		`[-_.]db$|(?:^|[-_.])(?:id|app|dir|tag|mode|role|path|env|file|group|table|index|module|package|profile|flavor|type|kind|job|scope)s?(?:$|[-_.]))|` +
		`service|svc|api|grpc|http|uri|dsn|conn|proxy|gateway|remote|target|primary|master|replica`)
	// otherFlag matches flags, otherWord words before a name that is not a host.
	otherFlag = regexp.MustCompile(`^-[UudDAmnpP]$`)
	otherWord = regexp.MustCompile(`(?i)^(?:database|exists|user|role|schema|table|use|owner|to|on|cd|ls|mkdir|rm|cp|mv|cat|chown|source|import|from|createdb|dropdb|run|restart|exec|build|logs|up|stop|start)$`)
)

func suggests(key string) usage {
	all := purpose.FindAllStringSubmatch(key, -1)
	switch {
	case len(all) == 0:
		return unclear
	case all[len(all)-1][1] != "":
		return isHost
	case all[len(all)-1][2] != "":
		return notHost
	}
	return unclear
}

// suggested is what the key of a value suggests about a word: the key beside it in the text, else that of the text.
func (p phrase) suggested(key string, sep byte, before, after string) usage {
	if key != "" && sep != ' ' {
		proves := hostKey
		if sep == ':' {
			proves = hostWord
		}
		return proven(proves.MatchString(key), key)
	}
	if strings.HasPrefix(key, "-") && key != "-" {
		return flagged(key)
	}
	if portAfter(after) == "" && otherWord.MatchString(key) {
		return notHost
	}
	start, end := strings.TrimRight(before, spaces), strings.TrimLeft(after, spaces)
	isElement := (start == "" || endsWith(start, ",;")) && (end == "" || beginsWith(end, ",;/"))
	switch {
	case p.key == "":
		return unclear
	case strings.HasPrefix(p.key, "-") && isElement:
		return flagged(p.key)
	case strings.HasPrefix(p.key, "-"):
		return unclear
	}
	return proven(isElement && suggests(p.key) == isHost, p.key)
}

func flagged(flag string) usage {
	if otherFlag.MatchString(flag) {
		return notHost
	}
	return proven(flag == "-h" || flag == "-H" || hostKey.MatchString(flag), flag)
}

// proven is isHost if that is proven, else at most unclear.
func proven(is bool, key string) usage {
	if is && suggests(key) != notHost {
		return isHost
	}
	return min(suggests(key), unclear)
}

// isRun reports whether a word is the name of a program that is run.
func (p phrase) isRun(before string) bool {
	before = strings.TrimRight(before, " \t")
	return p.isProgram && strings.TrimSpace(before) == "" || p.isCommand && (endsWith(before, "&|;(\n") || strings.HasSuffix(before, " exec"))
}

// Kinds of mounted files, by extension: in files of settings a value needs no quotes, and text for people names no hosts to rewrite.
var (
	settingsFile = regexp.MustCompile(`(?i)^\.?(?:ya?ml|json|toml|ini|conf|cfg|cnf|env|properties|xml|tmpl|tpl|template|config|sh|bash)?$`)
	proseFile    = regexp.MustCompile(`(?i)^\.(?:md|rst|adoc|txt|html?|sql|csv|svg|css|lock|log)$`)
	// otherFile matches files that name services, packages or directories, and are not settings of what runs in the stack.
	otherFile = regexp.MustCompile(`(?i)compose[^/]*\.ya?ml$|^\.conductor\.yaml$|\.github/|` +
		`(?:^|/)(?:package[^/]*|composer|[jt]sconfig[^/]*|angular|lerna|\.eslintrc)\.json$|(?:^|/)(?:pyproject|cargo|setup)\.(?:toml|cfg)$`)
)

// usageInFile is stricter in mounted files: they may be source code, whose identifiers can be like names of services.
func usageInFile(file string, use usage, key string, sep byte, before, after string) usage {
	ext := path.Ext(file)
	if use == notHost || proseFile.MatchString(ext) || otherFile.MatchString(file) {
		return notHost
	}
	isQuoted := endsWith(before, quotes) && strings.HasPrefix(after, before[len(before)-1:])
	isValue := key != "" && sep != ' '
	isBare := settingsFile.MatchString(ext)
	switch {
	case use == isHost && (isBare || isQuoted):
		return isHost
	case isComment(before):
		return notHost
	case isQuoted && (isValue || isBare || nextNumber.MatchString(after[1:])), isBare && isValue, isBare && sep == ' ' && (key == "-" || key == "server_name"):
		return unclear
	}
	return notHost
}

// nextNumber matches a second argument that is a number, such as a port.
var nextNumber = regexp.MustCompile(`^\s*,\s*\d`)

// isComment reports whether the line of a word is a comment, in most languages.
func isComment(before string) bool {
	line := strings.TrimLeft(before[strings.LastIndexByte(before, '\n')+1:], " \t")
	return beginsWith(line, "#*;") || strings.HasPrefix(line, "//") || strings.HasPrefix(line, "--")
}
