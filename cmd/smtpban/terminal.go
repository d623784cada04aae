package main

import (
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// usualWidth is a terminal's that does not know its own, and that of a page into a pipe.
const usualWidth = 80

// width returns the columns of the terminal that w is, 0 if it is none. As with
// systemd's own tools, COLUMNS outdoes what the terminal says.
func width(w io.Writer) int {
	f, is := w.(*os.File)
	if !is || !isTerminal(f) {
		return 0
	}
	if columns, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && columns > 0 {
		return columns
	}
	if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
		return int(size.Col)
	}
	return usualWidth
}

// coloured reports whether w is to get colours, as systemd(1) decides it:
// SYSTEMD_COLORS says so, else only a terminal does that can show them, unless
// NO_COLOR is set.
func coloured(w io.Writer) bool {
	switch wanted := os.Getenv("SYSTEMD_COLORS"); wanted {
	case "":
	case "1", "yes", "y", "true", "t", "on", "16", "256", "24bit":
		return true
	case "0", "no", "n", "false", "f", "off":
		return false
	}
	f, is := w.(*os.File)
	return is && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(f)
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
