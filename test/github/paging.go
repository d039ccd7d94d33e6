package githubtest

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

const (
	defaultPage = 30
	largestPage = 100
)

// pageSize is the per_page parameter within GitHub's bounds.
func (c *call) pageSize() int {
	n, err := strconv.Atoi(c.query.Get("per_page"))
	if err != nil || n < 1 {
		return defaultPage
	}
	return min(n, largestPage)
}

// paginate renders one page of a list and sets the Link header.
// https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api
func paginate[T any](c *call, all []T, render func(T) object) answer {
	size := c.pageSize()
	page, err := strconv.Atoi(c.query.Get("page"))
	if err != nil || page < 1 {
		page = 1
	}
	from := min((page-1)*size, len(all))
	to := min(from+size, len(all))
	last := max(1, (len(all)+size-1)/size)
	a := ok(each(all[from:to], render))
	var links []string
	link := func(rel string, page int) {
		links = append(links, c.link(rel, "page", strconv.Itoa(page)))
	}
	if page > 1 {
		link("prev", min(page-1, last))
	}
	if page < last {
		link("next", page+1)
		link("last", last)
	}
	if page > 1 {
		link("first", 1)
	}
	if links != nil {
		a.header.Set("Link", strings.Join(links, ", "))
	}
	return a
}

// counted is a page inside an object with the total, as checks and actions answer.
func counted[T any](c *call, name string, all []T, render func(T) object) answer {
	a := paginate(c, all, render)
	a.body = object{"total_count": len(all), name: a.body}
	return a
}

// link is one entry of a Link header: this request with one query parameter changed.
func (c *call) link(rel, param, value string) string {
	query := url.Values{}
	for key, values := range c.query {
		query[key] = values
	}
	query.Set(param, value)
	base := c.APIURL()
	if !strings.HasPrefix(c.request.URL.Path, "/api/v3/") {
		base = c.URL
	}
	return fmt.Sprintf(`<%s%s?%s>; rel="%s"`, base, c.path, query.Encode(), rel)
}
