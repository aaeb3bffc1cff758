// Package remote works on a folder at the other end of a stream, as package folder does on one of this machine: Serve, in the process that
// sees the folder, does what a Folder is asked for in the process that has the archives.
//
// Both ends are the same program, so the protocol has no versions. Each direction is a sequence of frames (a kind, a length in four bytes,
// big endian, the payload): a message in gob, which keeps paths that are no UTF-8; a piece of an archive; or the end of one. An archive
// that does not end with its own frame is not whole. The folder's end gives up, and leaves the folder as it was, when the stream ends.
//
// How the stream comes about, and that the process at its other end goes away, is left to others.
package remote
