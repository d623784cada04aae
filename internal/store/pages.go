package store

import (
	"encoding/binary"
	"hash/fnv"
	"os"
)

// bbolt follows the numbers in a page wherever they lead, out of the file or in
// circles: nothing can be recovered from an endless loop. So every number that
// it follows is looked at first. The layout is that of bbolt's file format 2,
// which every page and element of it share:
//
//	page     id 8, flags 2, count 2, overflow 4, then count elements
//	branch   pos 4, ksize 4, page 8
//	leaf     flags 4, pos 4, ksize 4, vsize 4
//	bucket   root page 8, sequence 8, then, if that is 0, a leaf page of its own
//	meta     magic 4, version 4, page size 4, flags 4, bucket 16, freelist 8, pages 8, txid 8, checksum 8
//
// pos counts from the beginning of the element.
const (
	headerSize  = 16
	elementSize = 16
	metaSize    = 64

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	valueElement  = 0x00
	bucketElement = 0x01

	boltMagic   = 0xED0CDAED
	boltVersion = 2
)

// native is the order of bytes in the file.
var native = binary.NativeEndian

// pages are those of a file.
type pages struct {
	data []byte
	size uint64 // of each
	used []bool // what something refers to, by the number of the page
}

// meta is what a meta page says.
type meta struct{ size, root, freelist, pages, txid uint64 }

// checkPages makes sure that everything in the pages lies where it can be, and
// that nothing is referred to twice. It reports whether both meta pages are
// intact: if one is not, the other one may be that of the commit before.
func checkPages(data []byte) (whole bool, err error) {
	m, whole, err := newestMeta(data)
	if err != nil {
		return false, err
	}
	if m.pages < 4 || m.pages > uint64(len(data))/m.size {
		return false, damagef("it is cut off: it has %d of %d bytes", len(data), m.pages*m.size)
	}
	p := &pages{data: data, size: m.size, used: make([]bool, m.pages)}
	p.used[0], p.used[1] = true, true
	if err := p.checkFreelist(m.freelist); err != nil {
		return false, err
	}
	return whole, p.check(m.root, bucketElement)
}

func newestMeta(data []byte) (m meta, whole bool, err error) {
	first, ok := readMeta(data)
	size := uint64(os.Getpagesize())
	if ok {
		size = first.size
	}
	second, both := meta{}, false
	if size < uint64(len(data)) {
		second, both = readMeta(data[size:])
	}
	switch {
	case ok && both && first.txid > second.txid, ok && !both:
		return first, ok && both, nil
	case both && second.size == size:
		return second, ok, nil
	}
	return meta{}, false, damagef("invalid database: neither of its meta pages is intact")
}

func readMeta(page []byte) (meta, bool) {
	if len(page) < headerSize+metaSize {
		return meta{}, false
	}
	b := page[headerSize : headerSize+metaSize]
	sum := fnv.New64a()
	sum.Write(b[:metaSize-8])
	m := meta{
		size: uint64(native.Uint32(b[8:])), root: native.Uint64(b[16:]),
		freelist: native.Uint64(b[32:]), pages: native.Uint64(b[40:]), txid: native.Uint64(b[48:]),
	}
	return m, native.Uint32(b) == boltMagic && native.Uint32(b[4:]) == boltVersion &&
		native.Uint64(b[56:]) == sum.Sum64() && m.size >= 512
}

// take returns the page with what overflows from it, and its flags and count.
func (p *pages) take(id uint64) (page []byte, flags, count uint16, err error) {
	if id >= uint64(len(p.used)) {
		return nil, 0, 0, damagef("page %d is beyond the last one", id)
	}
	page = p.data[id*p.size:]
	n := 1 + uint64(native.Uint32(page[12:]))
	if native.Uint64(page) != id || n > uint64(len(p.used))-id {
		return nil, 0, 0, damagef("page %d is not what it should be", id)
	}
	for i := id; i < id+n; i++ {
		if p.used[i] {
			return nil, 0, 0, damagef("page %d is referred to twice", i)
		}
		p.used[i] = true
	}
	return page[:n*p.size], native.Uint16(page[8:]), native.Uint16(page[10:]), nil
}

func (p *pages) checkFreelist(id uint64) error {
	page, flags, short, err := p.take(id)
	if err != nil {
		return err
	}
	ids, n := page[headerSize:], uint64(short)
	if short == 0xFFFF { // too many for the field: the first one is the number
		n, ids = native.Uint64(ids), ids[8:]
	}
	if flags != freelistPage || n > uint64(len(ids))/8 {
		return damagef("page %d is no list of free pages", id)
	}
	for i := range n {
		free := native.Uint64(ids[i*8:])
		if free >= uint64(len(p.used)) || p.used[free] {
			return damagef("page %d cannot be free", free)
		}
		p.used[free] = true
	}
	return nil
}

// check looks at a page and those below it. What the leaves have is of one kind:
// the root has buckets, and these have values.
func (p *pages) check(id uint64, kind uint32) error {
	page, flags, count, err := p.take(id)
	if err != nil {
		return err
	}
	switch flags {
	case leafPage:
		return p.checkLeaf(id, page, count, kind)
	case branchPage:
	default:
		return damagef("page %d is of no known kind", id)
	}
	for i := range int(count) {
		element, ok := elementAt(page, i)
		if !ok || count == 0 || !within(page, i, native.Uint32(element), native.Uint32(element[4:]), 0) {
			return damagef("page %d has a branch that ends nowhere", id)
		}
		if err := p.check(native.Uint64(element[8:]), kind); err != nil {
			return err
		}
	}
	return nil
}

func (p *pages) checkLeaf(id uint64, page []byte, count uint16, kind uint32) error {
	for i := range int(count) {
		element, ok := elementAt(page, i)
		if !ok {
			return damagef("page %d has no room for %d values", id, count)
		}
		pos, ksize, vsize := native.Uint32(element[4:]), native.Uint32(element[8:]), native.Uint32(element[12:])
		if !within(page, i, pos, ksize, vsize) {
			return damagef("page %d has a value that is not in it", id)
		}
		if native.Uint32(element) != kind {
			return damagef("page %d has a value for a bucket, or the other way round", id)
		}
		if kind == valueElement {
			continue
		}
		if err := p.checkBucket(id, element[uint64(pos)+uint64(ksize):][:vsize]); err != nil {
			return err
		}
	}
	return nil
}

func (p *pages) checkBucket(id uint64, value []byte) error {
	if len(value) < 16 {
		return damagef("page %d has a bucket cut off", id)
	}
	if root := native.Uint64(value); root != 0 {
		return p.check(root, valueElement)
	}
	inline := value[16:]
	if len(inline) < headerSize || native.Uint16(inline[8:]) != leafPage {
		return damagef("page %d has a bucket that is none", id)
	}
	return p.checkLeaf(id, inline, native.Uint16(inline[10:]), valueElement)
}

// elementAt returns the page from its element i on.
func elementAt(page []byte, i int) ([]byte, bool) {
	begin := headerSize + i*elementSize
	if begin+elementSize > len(page) {
		return nil, false
	}
	return page[begin:], true
}

// within reports whether the key and value of element i lie in the page.
func within(page []byte, i int, pos, ksize, vsize uint32) bool {
	begin := uint64(headerSize + i*elementSize)
	return begin+uint64(pos)+uint64(ksize)+uint64(vsize) <= uint64(len(page))
}
