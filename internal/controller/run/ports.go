package run

import (
	"context"
	"io"
	"time"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/source"
)

// GitHub is what a Run needs of GitHub. Each call uses a token narrowed to the repository and to the permissions of
// that call. Errors that only a person can mend are failure.Terminal.
type GitHub interface {
	// Archive visits the files of a commit once, as they come. An error of the visitor ends the visit and is returned as it is.
	Archive(ctx context.Context, installation int64, repo v1alpha1.Repository, sha string, visit func(source.File, io.Reader) error) error
	// CloneToken makes a token that can do nothing but read the repository's contents.
	CloneToken(ctx context.Context, installation int64, repo v1alpha1.Repository) (token string, expires time.Time, err error)
	// Hints finds texts that may name the issue of a commit: the message of an annotated tag (object is the tag object
	// or the commit itself), names of branches whose head it is, and its own message.
	Hints(ctx context.Context, installation int64, repo v1alpha1.Repository, object, sha string) (v1alpha1.CommitHints, error)
	// UpsertCheckRun brings a check run to c and returns its id. With id 0 it searches for c.ExternalID before it creates one.
	UpsertCheckRun(ctx context.Context, installation int64, repo v1alpha1.Repository, id int64, c v1alpha1.CheckRun) (int64, error)
	// UpsertComment brings a comment of ours on an issue to body and returns its id. With id 0 it searches for a comment of
	// ours that holds mark before it creates one.
	UpsertComment(ctx context.Context, installation int64, repo v1alpha1.Repository, issue int, id int64, mark, body string) (int64, error)
}

// Registry is what a Run needs of the registry.
type Registry interface {
	// Repository names where an image of a repository is pushed: host/path without tag or digest.
	Repository(repo v1alpha1.Repository, image string) string
	// PushConfig is a Docker config.json that can push to the repository, for a build's Secret.
	PushConfig(ctx context.Context, repository string) ([]byte, error)
	// PullConfig is a Docker config.json that can pull the images of a repository, for a stack's Secret; nil when none is needed.
	PullConfig(ctx context.Context, repo v1alpha1.Repository) ([]byte, error)
	// Ping reports whether the registry answers and takes the credential that builds push with. A build that cannot push would
	// find out only at its end.
	Ping(ctx context.Context) error
	// ImageConfig is the digest that an image's name represents, and its configuration file as JSON.
	ImageConfig(ctx context.Context, image string) (digest string, config []byte, err error)
	// PushSource keeps the files of a run's commit. fill writes the layers, one after the other, into what next gives, and returns their
	// index. The same annotations and files make the same digest.
	PushSource(ctx context.Context, repo v1alpha1.Repository, run string, annotations map[string]string,
		fill func(next func() (io.WriteCloser, error)) (*source.Index, error)) (v1alpha1.SourceStatus, error)
	// OpenSource finds a source artifact by its pinned reference, with the files that keep names; nil means all.
	OpenSource(ctx context.Context, reference string, keep func(source.File) bool) (*source.Artifact, error)
	// DeleteSource deletes a run's source artifact; one that is not there is deleted. A registry that does not allow it is a terminal failure.
	DeleteSource(ctx context.Context, repo v1alpha1.Repository, run string) error
	// PushRecord keeps a run's record: files, then what head makes once it is known which of them could not be read. It can be tried
	// again from wherever it broke off; the same content makes the same digest.
	PushRecord(ctx context.Context, repo v1alpha1.Repository, run string, annotations map[string]string, files []evidence.Layer, head func(missing []error) ([]evidence.Layer, error)) (v1alpha1.RecordStatus, error)
	// OpenResult opens the result.json of a record, by its digest.
	OpenResult(ctx context.Context, record v1alpha1.RecordStatus) (io.ReadCloser, error)
	// LinkImages has images, by digest, refer to a record.
	LinkImages(ctx context.Context, record v1alpha1.RecordStatus, images []string) error
	// History is what the last runs of a suite on a branch showed; nil when there is none.
	History(ctx context.Context, repo v1alpha1.Repository, branch, suite string) (*evidence.History, error)
	// UpdateHistory writes what change makes of it. Changes of one process do not overlap.
	UpdateHistory(ctx context.Context, repo v1alpha1.Repository, branch, suite string, change func(*evidence.History) evidence.History) error
}
