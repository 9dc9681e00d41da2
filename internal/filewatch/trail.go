package filewatch

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// mostLinks is how many symbolic links are followed; the system follows no more than 40 to 255.
const mostLinks = 255

// trail returns what decides which file an absolute path leads to: each symbolic link on the way, and the file
// itself, or the first that is missing. The directories that these are in are named without links.
func trail(path string) (found []string) {
	at, rest := root(path)
	for links := 0; len(rest) > 0 && links <= mostLinks; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		info, err := os.Lstat(next)
		switch {
		case err != nil:
			return append(found, next)
		case info.Mode()&fs.ModeSymlink == 0:
			at = next
			if len(rest) == 0 {
				found = append(found, next)
			}
			continue
		}
		found = append(found, next)
		target, err := os.Readlink(next)
		if err != nil {
			return found // it was there a moment ago
		}
		links++
		parts := split(target)
		if filepath.IsAbs(target) {
			at, parts = root(target)
		}
		rest = append(parts, rest...)
	}
	return found
}

// root returns the root of an absolute path, and the names below it.
func root(path string) (string, []string) {
	volume := filepath.VolumeName(path)
	return volume + string(filepath.Separator), split(path[len(volume):])
}

func split(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r < 0x80 && os.IsPathSeparator(uint8(r)) })
}
