package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
)

//go:generate go run ./generate

// Types of artifacts in a registry, as in their manifests.
const (
	// RecordArtifact is the record of one run.
	RecordArtifact = "application/vnd.conductor.record.v1+json"
	// LinkArtifact refers to a record from an image that the run built.
	LinkArtifact = "application/vnd.conductor.link.v1+json"
	// HistoryArtifact is the history of one suite on one branch.
	HistoryArtifact = "application/vnd.conductor.history.v1+json"
)

// Media types of the layers.
const (
	ResultMediaType  = "application/vnd.conductor.result.v1+json"
	PlanMediaType    = "application/yaml"
	ArchiveMediaType = "application/vnd.conductor.archive.v1.tar+gzip"
	LogMediaType     = "application/vnd.conductor.log.v1+gzip"
	HistoryMediaType = "application/vnd.conductor.history.v1+json+gzip"
)

// Annotations of a record's manifest and of the links to it, in addition to those of the OCI image specification.
const (
	AnnotationRun        = "es.digitalservic.conductor.run"
	AnnotationRepository = "es.digitalservic.conductor.repository"
	AnnotationOutcome    = "es.digitalservic.conductor.outcome"
	// AnnotationImages lists the tested images by digest, separated by spaces.
	AnnotationImages = "es.digitalservic.conductor.images"
	// AnnotationRecord is set on a link: the record as repository:tag@digest.
	AnnotationRecord = "es.digitalservic.conductor.record"
)

// ResultName is the file of a record that contains its Result as JSON.
const ResultName = "result.json"

// Layer is one file of a record, with access to its content.
type Layer struct {
	// Name is the file's path in the record, with slashes.
	Name      string
	MediaType string
	// Size is in bytes, Digest is sha256:HEX; both describe the content of Open.
	Size   int64
	Digest string
	// Open returns a reader from the first byte on each call; the caller closes it.
	Open func() (io.ReadCloser, error)
	// Write replaces Open if size and digest are not known in advance, as for a log that still grows. Its output may differ between calls.
	Write func(io.Writer) error
}

// BytesLayer returns a layer that is held in memory.
func BytesLayer(name, mediaType string, data []byte) Layer {
	sum := sha256.Sum256(data)
	return Layer{
		Name: name, MediaType: mediaType, Size: int64(len(data)), Digest: "sha256:" + hex.EncodeToString(sum[:]),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}
}
