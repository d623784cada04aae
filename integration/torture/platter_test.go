package torture_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
)

// platter is a folder on a disk that may lose its power: what is certain to be
// there, and what was written since and may be there or not.
type platter struct {
	names   map[string]*file // as they are certain to be
	renames []func(map[string]*file)
	changes int // so far, that a sync has to follow
}

// write does so to a file.
func (p *platter) write(f *file, w write) {
	f.pending = append(f.pending, w)
	p.changes++
}

// rename does something to the names.
func (p *platter) rename(change func(map[string]*file)) {
	p.renames = append(p.renames, change)
	p.changes++
}

// file is one of its files.
type file struct {
	number  int    // in the order of creation
	durable []byte // what a sync has made certain
	pending []write
	synced  int // how often it was synced
}

// write is a change of a file that no sync has followed.
type write struct {
	at     int
	data   []byte
	resize bool // to at
}

func (w write) apply(data []byte) []byte {
	size := w.at + len(w.data)
	if w.resize {
		size = w.at
	}
	if size > len(data) {
		data = append(data, make([]byte, size-len(data))...)
	}
	if w.resize {
		return data[:size]
	}
	copy(data[w.at:], w.data)
	return data
}

// now is what a reader sees.
func (f *file) now() []byte {
	data := slices.Clone(f.durable)
	for _, w := range f.pending {
		data = w.apply(data)
	}
	return data
}

// seen are the names as a reader sees them.
func (p *platter) seen() map[string]*file {
	names := maps.Clone(p.names)
	for _, change := range p.renames {
		change(names)
	}
	return names
}

// torn is what may be left of the file: some of the pending writes, and of
// some of them only some sectors.
func (f file) torn(r *rand.Rand) []byte {
	data := slices.Clone(f.durable)
	for _, w := range f.pending {
		if r.IntN(2) == 0 {
			continue
		}
		if w.resize || r.IntN(2) == 0 {
			data = w.apply(data)
			continue
		}
		sector := []int{512, 4096}[r.IntN(2)]
		for begin := 0; begin < len(w.data); begin += sector {
			if r.IntN(2) == 0 {
				data = write{at: w.at + begin, data: w.data[begin:min(begin+sector, len(w.data))]}.apply(data)
			}
		}
	}
	return data
}

// moment is the platter at some time.
type moment struct {
	names   map[string]*file
	renames []func(map[string]*file)
	files   map[*file]file // as they were then
}

// moment returns the platter as it is now.
func (p *platter) moment() moment {
	files := map[*file]file{}
	for _, names := range []map[string]*file{p.names, p.seen()} {
		for _, f := range names {
			files[f] = *f
		}
	}
	return moment{p.names, slices.Clone(p.renames), files}
}

// image is what is there after the power was cut. A file system keeps the order
// of what happens to its names.
func (m moment) image(r *rand.Rand) map[string]imaged {
	names := maps.Clone(m.names)
	for _, change := range m.renames[:r.IntN(len(m.renames)+1)] {
		change(names)
	}
	image := map[string]imaged{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		f := m.files[names[name]]
		image[name] = imaged{f, f.torn(r)}
	}
	return image
}

// imaged is a file as it was left.
type imaged struct {
	file
	data []byte
}

// player plays system calls on a platter.
type player struct {
	*platter
	dir   string
	fds   map[int]*open
	files int
}

// open is an open file, or the folder.
type open struct {
	*file
	at int
}

// process begins another process.
func (p *player) process() { p.fds = map[int]*open{} }

// play does what the call did. Only what happens in the folder matters.
func (p *player) play(c call) error {
	switch c.name {
	case "openat":
		p.openat(c)
		return nil
	case "rename", "renameat", "renameat2", "unlinkat", "unlink", "linkat", "link":
		return p.change(c)
	}
	fd, err := c.number(0)
	if err != nil {
		return err
	}
	if c.name == "copy_file_range" || c.name == "sendfile" {
		return p.copy(c)
	}
	o := p.fds[fd]
	if o == nil {
		return nil
	}
	switch c.name {
	case "close":
		delete(p.fds, fd)
	case "lseek":
		o.at = c.result
	case "write":
		p.write(o.file, write{at: o.at, data: []byte(c.args[1])})
		o.at += c.result
	case "pwrite64", "ftruncate":
		at, err := c.number(len(c.args) - 1)
		if err != nil {
			return err
		}
		w := write{at: at, resize: c.name == "ftruncate"}
		if !w.resize {
			w.data = []byte(c.args[1])
		}
		p.write(o.file, w)
	case "fsync", "fdatasync":
		p.sync(o)
	default:
		return fmt.Errorf("%s is not understood", c.name)
	}
	return nil
}

func (p *player) openat(c call) {
	if c.args[1] == p.dir {
		p.fds[c.result] = &open{}
		return
	}
	name, ok := p.inside(c.args[1])
	if !ok {
		return
	}
	f := p.seen()[name]
	if f == nil {
		f = p.create(name)
	}
	p.fds[c.result] = &open{file: f}
}

func (p *player) create(name string) *file {
	f := &file{number: p.files}
	p.files++
	p.rename(func(names map[string]*file) { names[name] = f })
	return f
}

// inside returns the name of a file in the folder.
func (p *player) inside(path string) (string, bool) {
	dir, name := filepath.Split(path)
	return name, strings.TrimSuffix(dir, "/") == p.dir
}

// sync makes certain what was done to a file, or to the names.
func (p *player) sync(o *open) {
	if o.file != nil {
		o.durable, o.pending = o.now(), nil
		o.synced++
		return
	}
	p.names, p.renames = p.seen(), nil
}

// change does what happened to a name.
func (p *player) change(c call) error {
	var paths []string
	for _, a := range c.args {
		if strings.HasPrefix(a, "/") {
			paths = append(paths, a)
		}
	}
	from, ok := p.inside(paths[0])
	if !ok {
		return nil
	}
	if strings.HasPrefix(c.name, "unlink") {
		p.rename(func(names map[string]*file) { delete(names, from) })
		return nil
	}
	to, ok := p.inside(paths[len(paths)-1])
	if !ok || len(paths) != 2 {
		return fmt.Errorf("%s out of the folder", c.name)
	}
	keeps := strings.HasPrefix(c.name, "link")
	p.rename(func(names map[string]*file) {
		names[to] = names[from]
		if !keeps {
			delete(names, from)
		}
	})
	return nil
}

// copy copies from one open file to another.
func (p *player) copy(c call) error {
	in, out := 0, 2
	if c.name == "sendfile" {
		in, out = 1, 0
	}
	var ends [2]*open
	for i, arg := range []int{in, out} {
		fd, err := c.number(arg)
		if err != nil {
			return err
		}
		ends[i] = p.fds[fd]
	}
	from, to := ends[0], ends[1]
	if to == nil {
		return nil
	}
	if from == nil {
		return fmt.Errorf("%s into the folder", c.name)
	}
	p.write(to.file, write{at: to.at, data: from.now()[from.at : from.at+c.result]})
	from.at += c.result
	to.at += c.result
	return nil
}
