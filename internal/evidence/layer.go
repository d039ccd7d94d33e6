package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
)

//go:generate go run ./generate

// Types of the artifacts that are kept in a registry, as their manifests name them.
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

// Annotations of a record's manifest and of the links to it, beside those of the OCI image specification.
const (
	AnnotationRun        = "es.digitalservic.conductor.run"
	AnnotationRepository = "es.digitalservic.conductor.repository"
	AnnotationOutcome    = "es.digitalservic.conductor.outcome"
	// AnnotationImages are the images that were tested, by digest, one after the other with a space between.
	AnnotationImages = "es.digitalservic.conductor.images"
	// AnnotationRecord is on a link: the record as repository:tag@digest.
	AnnotationRecord = "es.digitalservic.conductor.record"
)

// ResultName is the file of a record that holds its Result as JSON.
const ResultName = "result.json"

// Layer is one file of a record, with the way to its bytes.
type Layer struct {
	// Name is the file's path in the record, with slashes.
	Name      string
	MediaType string
	// Size is in bytes, Digest is sha256:HEX; both are of what Open gives.
	Size   int64
	Digest string
	// Open begins at the first byte each time it is called; anyone who calls it closes what it gives.
	Open func() (io.ReadCloser, error)
	// Write is there instead of Open where size and digest are not known before the content was written, such as that of a log which
	// grows. What it writes may differ from one call to the next.
	Write func(io.Writer) error
}

// BytesLayer is a layer that is held in memory.
func BytesLayer(name, mediaType string, data []byte) Layer {
	sum := sha256.Sum256(data)
	return Layer{
		Name: name, MediaType: mediaType, Size: int64(len(data)), Digest: "sha256:" + hex.EncodeToString(sum[:]),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}
}
