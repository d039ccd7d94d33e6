package delivery

import (
	"context"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// GitHub is what acting on a delivery, and looking for lost ones, needs of GitHub.
type GitHub interface {
	// Permission is a user's right on the repository; "none" for someone who has none.
	Permission(ctx context.Context, installation int64, repo v1alpha1.Repository, login string) (v1alpha1.Permission, error)
	// Head is the commit that a comment on an issue or pull request asks to run: a pull request's head,
	// or the head of the default branch.
	Head(ctx context.Context, installation int64, repo v1alpha1.Repository, issue int) (v1alpha1.Head, error)
	// React puts a reaction on an issue comment; doing it twice is the same as once. Content is eyes, rocket, -1 or the like.
	React(ctx context.Context, installation int64, repo v1alpha1.Repository, comment int64, content string) error
	// UpsertComment brings a comment of ours on an issue to body and returns its id. With id 0 it looks for a comment of
	// ours with mark on its first line before it creates one.
	UpsertComment(ctx context.Context, installation int64, repo v1alpha1.Repository, issue int, id int64, mark, body string) (int64, error)
	// Repositories calls each for every repository that the App is installed on.
	Repositories(ctx context.Context, each func(installation int64, repo v1alpha1.Repository) error) error
	// Tags are the tags whose short name begins with prefix: full ref to the object it points to.
	Tags(ctx context.Context, installation int64, repo v1alpha1.Repository, prefix string) (map[string]string, error)
}
