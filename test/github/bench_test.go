package githubtest_test

import (
	"testing"

	githubtest "github.com/w3evolutionsllc/conductor/test/github"
)

// BenchmarkTagPush is one tag made and announced, with its payload checked against the description.
func BenchmarkTagPush(b *testing.B) {
	s := one(githubtest.New(githubtest.Options{}))(b)
	defer s.Close()
	one(s.CreateUser("ada"))(b)
	one(s.CreateRepository("ada/shop", githubtest.RepositoryOptions{Files: map[string]string{"a": "1"}}))(b)
	app := one(s.CreateApp(githubtest.AppOptions{Slug: "bot", Permissions: githubtest.Permissions{"contents": "read"}, Events: []string{"push"}, WebhookURL: "http://127.0.0.1:1"}))(b)
	one(s.InstallApp(app.ID, "ada", githubtest.InstallOptions{}))(b)
	for n := 0; b.Loop(); n++ {
		must(b, s.PushTag("ada/shop", "ada", "run", "", "message "+num(n)))
	}
}
