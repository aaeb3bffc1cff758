// Package archive turns a folder into one stream of bytes and back, exactly: contents, names, owners, modes, times, extended
// attributes, links, pipes and devices. It leaves to others what the folder is (a volume or not), where the stream goes, whether
// the files hold still meanwhile, and making durable what it extracted.
//
// # Format
//
// The plain stream is a POSIX pax tar (IEEE 1003.1, pax) in the walk's order: a folder, then what is in it, names compared as
// bytes, so that a path's components are compared one by one. Names begin with "./", and "./" itself is the first member. What the
// ustar header cannot hold stands in extended records: path, linkpath, size, uid, gid, mtime (to the nanosecond), SCHILY.xattr.*
// with "%" and "=" in the attribute's name as %25 and %3D (GNU tar's way), and POSIX ACLs once more in words as SCHILY.acl.access
// and SCHILY.acl.default, since stock readers know one form or the other. Two zero blocks end it, and nothing follows them.
//
// The stored stream is that one, cut into pieces of at most 1 MiB, each an independent zstd frame (RFC 8878) in a single segment, with
// its content size and checksum. A file of 1 MiB or more is cut at multiples of 1 MiB of its own offset, in frames that hold nothing
// else, so that the same data gives the same frame in the next archive; headers, small files and padding are packed together.
// "tar --zstd -xf" reads the result. A reader must refuse frames of any other shape: their sizes are what bounds its memory.
// An archive may lean on earlier ones: what has not changed since one of them was made (changed.go has the rule) is not read and not stored
// again, but a slice of what that one has. Only a Reader, which is given all of these, reads such an archive; its own stream is not the tar.
//
// After the data comes an index in skippable frames, which stock tools ignore: the frames, the slices of which the tar consists, and the
// entries, each in blocks that are compressed by themselves; a directory of these blocks; and last a trailer of a fixed size. By it a Reader
// finds a file without reading the rest. Digests lead from the trailer to every frame. Since a stream cut between two frames is a sound
// zstd stream, only the trailer, and the tar's two zero blocks, prove that it is whole. docs/format.md is the specification.
package archive
