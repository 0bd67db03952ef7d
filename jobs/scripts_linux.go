package jobs

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// endsWithUs has a child killed when we end.
func endsWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// confine closes what files the process has inherited, and bounds its memory: to what it takes to begin with, twice what it may
// use, since the runtime keeps some for itself and in pieces, and some to spare.
func confine(memory int64) error {
	const spare = 192 << 20
	const absurd = 64 << 30 // what sanitizers reserve; there it is only watched
	if err := closeInherited(); err != nil {
		return err
	}
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return err
	}
	first, _, _ := bytes.Cut(statm, []byte(" "))
	pages, err := strconv.ParseInt(string(first), 10, 64)
	if err != nil {
		return err
	}
	reserved := pages * int64(os.Getpagesize())
	if reserved > absurd {
		return nil
	}
	limit := uint64(reserved + 2*memory + spare)
	return syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: limit, Max: limit})
}

// closeInherited closes all files but the standard streams and what the runtime has for itself. Ours are closed in a child
// anyway, but not what we have inherited ourselves.
func closeInherited() error {
	const folder = "/proc/self/fd"
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		target, err := os.Readlink(filepath.Join(folder, e.Name()))
		if err == nil && !strings.HasPrefix(target, "anon_inode:") {
			_ = syscall.Close(fd)
		}
	}
	return nil
}
