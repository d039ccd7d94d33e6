package github_test

import (
	"testing"

	"github.com/w3evolutionsllc/conductor/test/github"
)

// BenchmarkTagPush is one tag made and announced, with its payload checked against the description.
func BenchmarkTagPush(b *testing.B) {
	s := one(github.New(github.Options{}))(b)
	defer s.Close()
	one(s.CreateUser("ada"))(b)
	one(s.CreateRepository("ada/shop", github.RepositoryOptions{Files: map[string]string{"a": "1"}}))(b)
	app := one(s.CreateApp(github.AppOptions{Slug: "bot", Permissions: github.Permissions{"contents": "read"}, Events: []string{"push"}, WebhookURL: "http://127.0.0.1:1"}))(b)
	one(s.InstallApp(app.ID, "ada", github.InstallOptions{}))(b)
	for n := 0; b.Loop(); n++ {
		must(b, s.PushTag("ada/shop", "ada", "run", "", "message "+num(n)))
	}
}
