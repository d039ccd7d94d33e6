package testreport

import (
	"cmp"
	"encoding/xml"
	"strconv"
	"strings"

	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// trx extracts the cases of a TRX file, the format of Visual Studio and dotnet test. The classes of the tests follow after the results,
// so results are held until then.
type trx struct {
	*document
	pending []trxCase
	// held is the size of the pending cases, in bytes. unclassed means that they were too large to be held.
	held      int
	unclassed bool
	// results are the open results: one with data rows has inner results.
	results []*trxResult
	// bad is the number of bad cases.
	bad int
	// definition is the id of the open test definition.
	definition string
	// classes maps ids of tests to the indexes of their pending cases.
	byTest map[string][]int
	// runInfo is an open message about the run as a whole; runErrors are those that are errors.
	runInfo   *longText
	runErrors []string
}

// trxSize is about the memory of a pending case without its texts, in bytes.
const trxSize = 256

// trxCase is a case without its class. test is the id of its definition.
type trxCase struct {
	evidence.Case
	test string
}

// trxResult is an open result.
type trxResult struct {
	attrs          map[string]string
	message, trace *longText
	output         *longText
	// inner is the number of inner results, bad the number of bad ones among them.
	inner, bad int
}

func newTRX(d *document) *trx {
	d.report = true
	return &trx{document: d, byTest: map[string][]int{}}
}

// parent returns the name of the element that contains the current one.
func (p *trx) parent() string { return p.top().name }

// result returns the innermost open result, or nil.
func (p *trx) result() *trxResult {
	if len(p.results) == 0 {
		return nil
	}
	return p.results[len(p.results)-1]
}

// isResult reports whether an element is a result: there is one name for each kind of test.
func isResult(name string) bool {
	return strings.HasSuffix(name, "TestResult") || name == "TestResult" || name == "TestResultAggregation"
}

// start implements dialect.
func (p *trx) start(e xml.StartElement) *longText {
	r := p.result()
	switch name := e.Name.Local; {
	case isResult(name):
		p.results = append(p.results, &trxResult{
			attrs: attributes(e), message: newText(evidence.MaxDetail), trace: newText(evidence.MaxDetail), output: newText(evidence.MaxOutput),
		})
	case r != nil && p.parent() == "ErrorInfo" && name == "Message":
		return separate(r.message)
	case r != nil && p.parent() == "ErrorInfo" && name == "StackTrace":
		return separate(r.trace)
	case r != nil && p.parent() == "Output" && (name == "StdOut" || name == "StdErr" || name == "DebugTrace"),
		r != nil && p.parent() == "TextMessages" && name == "Message":
		return separate(r.output)
	case p.parent() == "TestDefinitions":
		p.definition = first(attributes(e), "id")
	case p.definition != "" && name == "TestMethod":
		p.setClass(p.definition, first(attributes(e), "className"))
	case p.parent() == "RunInfos" && isRunError(first(attributes(e), "outcome")):
		p.runInfo = newText(evidence.MaxDetail)
	case p.runInfo != nil && name == "Text":
		return p.runInfo
	}
	return nil
}

// end implements dialect.
func (p *trx) end(name string) {
	switch {
	case isResult(name) && p.result() != nil:
		p.closeResult()
	case p.parent() == "TestDefinitions":
		p.definition = ""
	case name == "TestDefinitions":
		p.release()
	case name == "RunInfo" && p.runInfo != nil:
		p.addRunError(p.runInfo.String())
		p.runInfo = nil
	}
}

// finish implements dialect. A run that failed as a whole, such as one whose process crashed, is a case.
func (p *trx) finish() {
	p.release()
	for _, detail := range p.runErrors {
		p.add(evidence.Case{
			Name: "(run)", Status: evidence.Error, Message: text.Head(summary(detail, ""), evidence.MaxMessage), Detail: detail,
		})
	}
}

func isRunError(outcome string) bool {
	return outcome == "Error" || outcome == "Failed" || outcome == "Aborted"
}

// maxRunErrors is the most messages about the run as a whole that are kept.
const maxRunErrors = 10

// addRunError keeps a message about the run. xUnit's adapter also reports each failing test as one.
func (p *trx) addRunError(detail string) {
	if detail != "" && !strings.HasSuffix(detail, "[FAIL]") && len(p.runErrors) < maxRunErrors {
		p.runErrors = append(p.runErrors, detail)
	}
}

// closeResult converts the open result into a case. A result with inner results only summarizes them: it is a case only if it is bad
// although none of them is.
func (p *trx) closeResult() {
	r := p.result()
	p.results = p.results[:len(p.results)-1]
	c := r.toCase(p.paths)
	if outer := p.result(); outer != nil {
		outer.inner++
		if c.Status.Bad() {
			outer.bad++
		}
	}
	if r.inner > 0 && (!c.Status.Bad() || r.bad > 0) || !p.hasRoomFor(1+len(p.pending)) {
		return
	}
	p.hold(trxCase{c, text.Head(first(r.attrs, "testId"), maxName)})
}

// hold keeps a case until its class is known, unless too much is held.
func (p *trx) hold(c trxCase) {
	p.pending = append(p.pending, c)
	p.held += trxSize + len(c.Name) + len(c.Message) + len(c.Detail) + len(c.Output) + len(c.test)
	if c.test != "" {
		p.byTest[c.test] = append(p.byTest[c.test], len(p.pending)-1)
	}
	if p.held <= maxHeld && !p.unclassed {
		return
	}
	if !p.unclassed {
		p.unclassed = true
		p.problem("Its results are larger than %d MiB; the classes of some tests were left out", maxHeld>>20)
	}
	p.release()
}

// setClass sets the class of the cases of a definition.
func (p *trx) setClass(test, class string) {
	// An assembly may follow the name of the class.
	class, _, _ = strings.Cut(class, ",")
	class = label(class)
	for _, i := range p.byTest[test] {
		p.pending[i].Class = class
	}
	delete(p.byTest, test)
}

// release passes on the pending cases.
func (p *trx) release() {
	for _, c := range p.pending {
		p.add(classed(c.Case))
	}
	p.pending, p.held = nil, 0
	clear(p.byTest)
}

// classed returns a case with its class and its name apart: many tools write both into the name.
func classed(c evidence.Case) evidence.Case {
	if c.Class == "" {
		end := strings.IndexAny(c.Name, "( ")
		if end < 0 {
			end = len(c.Name)
		}
		if dot := strings.LastIndexByte(c.Name[:end], '.'); dot > 0 && !strings.HasPrefix(c.Name[end:], " ") {
			c.Class = c.Name[:dot]
		}
	}
	if rest, ok := strings.CutPrefix(c.Name, c.Class+"."); ok && rest != "" {
		c.Name = rest
	}
	return c
}

// toCase returns the case of a result. Its class is not known yet.
func (r *trxResult) toCase(p paths) evidence.Case {
	c := evidence.Case{Name: cmp.Or(label(first(r.attrs, "testName")), "(no name)"), Status: r.status(), Seconds: clock(r.attrs["duration"])}
	if c.Status == evidence.Passed {
		return c
	}
	message, trace := r.message.String(), r.trace.String()
	both := newText(evidence.MaxDetail)
	both.add([]byte(message))
	if trace != "" {
		separate(both).add([]byte(trace))
	}
	c.Detail = both.String()
	c.Message = text.Head(summary(message, ""), evidence.MaxMessage)
	if !c.Status.Bad() {
		return c
	}
	c.Output = r.output.String()
	if c.Message == "" {
		c.Message = text.Head(cmp.Or(summary(trace, ""), "The outcome is "+cmp.Or(label(r.attrs["outcome"]), "missing")), evidence.MaxMessage)
	}
	at, _ := p.failure("", "", trace, message, c.Output)
	c.File, c.Line = at.file, at.line
	return c
}

// status returns the status that an outcome means. The first of TRX's outcomes, which tools leave out, is Error.
func (r *trxResult) status() evidence.Status {
	switch r.attrs["outcome"] {
	case "Passed", "PassedButRunAborted", "Completed", "Warning":
		return evidence.Passed
	case "NotExecuted", "Inconclusive", "Pending":
		return evidence.Skipped
	case "Failed":
		return evidence.Failed
	}
	return evidence.Error
}

// clock parses a duration such as 00:01:02.3456789 or, with days, 1.00:01:02. It returns 0 for anything else.
func clock(s string) float64 {
	parts := strings.Split(strings.TrimSpace(s), ":")
	if len(parts) != 3 {
		return 0
	}
	days, hours, ok := strings.Cut(parts[0], ".")
	if !ok {
		days, hours = "0", parts[0]
	}
	total := 0.0
	for i, part := range []string{days, hours, parts[1]} {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil {
			return 0
		}
		total += float64(n) * []float64{24 * 60 * 60, 60 * 60, 60}[i]
	}
	return total + seconds(parts[2])
}
