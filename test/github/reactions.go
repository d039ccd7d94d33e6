package githubtest

import "slices"

// reactionKinds are the contents of a reaction.
var reactionKinds = []string{"+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"}

func listIssueReactions(c *call, i *issue) answer { return c.listReactions(i.reactions) }
func reactToIssue(c *call, i *issue) answer       { return c.react(&i.reactions) }
func unreactToIssue(c *call, i *issue) answer     { return c.unreact(&i.reactions) }

func listCommentReactions(c *call, _ *issue, k *comment) answer { return c.listReactions(k.reactions) }
func reactToComment(c *call, _ *issue, k *comment) answer       { return c.react(&k.reactions) }
func unreactToComment(c *call, _ *issue, k *comment) answer     { return c.unreact(&k.reactions) }

func (c *call) listReactions(all []*reaction) answer {
	var selected []*reaction
	for _, r := range all {
		if c.selects("content", r.content) {
			selected = append(selected, r)
		}
	}
	return paginate(c, selected, c.reaction)
}

// react adds a reaction. A second one of the same kind by the same account is the first: 200, not 201.
func (c *call) react(all *[]*reaction) answer {
	var ask struct {
		Content string `json:"content"`
	}
	if err := c.decode(&ask); err != nil {
		return unprocessable(err.Error())
	}
	actor := c.principal.actor()
	for _, r := range *all {
		if r.user == actor && r.content == ask.Content {
			return ok(c.reaction(r))
		}
	}
	r := &reaction{id: c.id(), user: actor, content: ask.Content, created: c.now}
	*all = append(*all, r)
	return created(c.reaction(r))
}

func (c *call) unreact(all *[]*reaction) answer {
	for _, r := range *all {
		if r.id == c.number("reaction_id") && r.user == c.principal.actor() {
			*all = slices.DeleteFunc(*all, func(other *reaction) bool { return other == r })
			return noContent()
		}
	}
	return notFound()
}

func (s *Server) reaction(r *reaction) object {
	return object{
		"id": r.id, "node_id": nodeID("Reaction", r.id), "user": s.userOrNull(r.user), "content": r.content,
		"created_at": stamp(r.created),
	}
}

// rollup counts reactions by kind.
func rollup(url string, all []*reaction) object {
	o := object{"url": url, "total_count": len(all)}
	for _, kind := range reactionKinds {
		count := 0
		for _, r := range all {
			if r.content == kind {
				count++
			}
		}
		o[kind] = count
	}
	return o
}
