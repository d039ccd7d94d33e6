package redact

// matcher is an Aho-Corasick automaton. It reads text once regardless of the number of forms. At every byte it knows the longest form
// that ends there and how much of the preceding text may still become one. Aho, Corasick: "Efficient string matching", CACM 18(6),
// 1975.
type matcher struct {
	nodes []node
}

type node struct {
	next  map[byte]int32
	fail  int32
	depth int
	// ends is the length of the longest form that ends here, or 0.
	ends int
}

func newMatcher(forms []string) *matcher {
	m := &matcher{nodes: []node{{}}}
	for _, f := range forms {
		m.add(f)
	}
	m.link()
	return m
}

func (m *matcher) add(form string) {
	at := int32(0)
	for i := range len(form) {
		to, ok := m.nodes[at].next[form[i]]
		if !ok {
			to = int32(len(m.nodes))
			m.nodes = append(m.nodes, node{depth: i + 1})
			if m.nodes[at].next == nil {
				m.nodes[at].next = map[byte]int32{}
			}
			m.nodes[at].next[form[i]] = to
		}
		at = to
	}
	m.nodes[at].ends = len(form)
}

// link sets the failure links, breadth first.
func (m *matcher) link() {
	queue := []int32{0}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for c, to := range m.nodes[at].next {
			if at != 0 {
				m.nodes[to].fail = m.step(m.nodes[at].fail, c)
			}
			n := &m.nodes[to]
			n.ends = max(n.ends, m.nodes[n.fail].ends)
			queue = append(queue, to)
		}
	}
}

// step returns the state after one more byte.
func (m *matcher) step(at int32, c byte) int32 {
	for {
		if to, ok := m.nodes[at].next[c]; ok {
			return to
		}
		if at == 0 {
			return 0
		}
		at = m.nodes[at].fail
	}
}
