package archive

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// The attributes that are POSIX ACLs: what a file allows, and what is made in a folder gets from it.
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// aclRecord is the record in which an attribute that is a POSIX ACL stands once more, in words; "" for other attributes.
func aclRecord(attribute string) string {
	switch attribute {
	case aclAccess:
		return "SCHILY.acl.access"
	case aclDefault:
		return "SCHILY.acl.default"
	}
	return ""
}

// aclText puts an ACL as the kernel keeps it (include/uapi/linux/posix_acl_xattr.h) into words as acl_from_text(3) reads them, with
// numbers for names.
func aclText(value []byte) (string, error) {
	const header, entry, version = 4, 8, 2
	if len(value) < header || (len(value)-header)%entry != 0 || binary.LittleEndian.Uint32(value) != version {
		return "", fmt.Errorf("%d bytes that are no ACL", len(value))
	}
	var words []string
	for e := value[header:]; len(e) > 0; e = e[entry:] {
		who, err := aclWho(binary.LittleEndian.Uint16(e), binary.LittleEndian.Uint32(e[4:]))
		if err != nil {
			return "", err
		}
		words = append(words, who+":"+aclPermissions(binary.LittleEndian.Uint16(e[2:])))
	}
	return strings.Join(words, ","), nil
}

func aclWho(tag uint16, id uint32) (string, error) {
	switch tag {
	case 0x01:
		return "user:", nil
	case 0x02:
		return fmt.Sprintf("user:%d", id), nil
	case 0x04:
		return "group:", nil
	case 0x08:
		return fmt.Sprintf("group:%d", id), nil
	case 0x10:
		return "mask:", nil
	case 0x20:
		return "other:", nil
	}
	return "", fmt.Errorf("ACL entry with unknown tag %#x", tag)
}

func aclPermissions(p uint16) string {
	text := []byte("rwx")
	for i := range text {
		if p&(4>>i) == 0 {
			text[i] = '-'
		}
	}
	return string(text)
}
