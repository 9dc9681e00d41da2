package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// versions are two programs made of the same sources of bench, today's, each with
// another version of the library.
type versions struct {
	commit   string // of the old version
	old, new string // paths of the programs
}

// buildVersions builds them in dir: with the library as it is at a revision, and as it
// is in the working tree that this program is run in.
func buildVersions(ctx context.Context, revision, dir string) (v versions, err error) {
	top, err := output(ctx, "", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return v, err
	}
	today := filepath.Join(top, "bench")
	if v.commit, err = output(ctx, top, "git", "rev-parse", "--verify", "--end-of-options", revision+"^{commit}"); err != nil {
		return v, fmt.Errorf("%q names no commit: %w", revision, err)
	}
	v.new = filepath.Join(dir, "new")
	if err := build(ctx, today, top, v.new); err != nil {
		return v, err
	}
	v.old = filepath.Join(dir, "old")
	tree := filepath.Join(dir, "tree")
	if err := extract(ctx, top, v.commit, tree); err != nil {
		return v, err
	}
	// Today's bench takes the place of the old one, below the old library, whose internal packages it may import.
	bench := filepath.Join(tree, "bench")
	if err := errors.Join(os.RemoveAll(bench), os.CopyFS(bench, os.DirFS(today))); err != nil {
		return v, err
	}
	if err = build(ctx, bench, tree, v.old); err != nil {
		if least := build(ctx, bench, tree, v.old, "-tags=least"); least != nil {
			return v, fmt.Errorf("today's bench does not build with the library of %s: %w", revision, least)
		}
	}
	return v, nil
}

// build builds the program of a module with the library in that directory.
func build(ctx context.Context, module, library, program string, flags ...string) error {
	// go.mod names a version of the library. A copy beside the program names the directory.
	mod := program + ".mod"
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(program+strings.TrimPrefix(name, "go"), text, 0o666); err != nil {
			return err
		}
	}
	if _, err := output(ctx, module, "go", "mod", "edit", "-replace=github.com/abhishekg16/cluster="+library, mod); err != nil {
		return err
	}
	// The library may need other versions of modules than go.mod says. Nothing but the library is to differ:
	// neither paths nor what Git says.
	args := []string{"build", "-trimpath", "-buildvcs=false", "-modfile", mod, "-mod=mod", "-o", program}
	_, err := output(ctx, module, "go", append(append(args, flags...), ".")...)
	return err
}

// extract writes the files of a commit into a new directory.
func extract(ctx context.Context, repository, commit, dir string) error {
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	archive := dir + ".tar"
	defer os.Remove(archive)
	if _, err := output(ctx, repository, "git", "archive", "--format=tar", "-o", archive, commit); err != nil {
		return err
	}
	_, err := output(ctx, dir, "tar", "-xf", archive)
	return err
}

// output runs a command in a directory, and returns what it prints.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, args[0], err, strings.TrimSpace(said.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
