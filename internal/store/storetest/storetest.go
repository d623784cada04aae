// Package storetest breaks states for tests.
package storetest

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
)

// Damage is a way to break a file.
type Damage struct {
	Name string
	Do   func(r *rand.Rand, data []byte) []byte // may change data and return it
}

// Damages returns the ways to break a file.
func Damages() []Damage {
	return []Damage{
		{"emptied", func(*rand.Rand, []byte) []byte { return nil }},
		{"cut off", func(r *rand.Rand, data []byte) []byte { return data[:r.IntN(len(data))] }},
		{"cut off at a page", func(r *rand.Rand, data []byte) []byte { return data[:r.IntN(len(data)/4096)*4096] }},
		{"zeroed", func(r *rand.Rand, data []byte) []byte {
			begin := r.IntN(len(data))
			clear(data[begin:min(begin+1+r.IntN(8192), len(data))])
			return data
		}},
		{"a bit flipped", func(r *rand.Rand, data []byte) []byte {
			data[r.IntN(len(data))] ^= 1 << r.IntN(8)
			return data
		}},
		{"a bit flipped at the head of a page", func(r *rand.Rand, data []byte) []byte {
			data[r.IntN(len(data)/4096)*4096+r.IntN(96)] ^= 1 << r.IntN(8)
			return data
		}},
		{"garbage", func(r *rand.Rand, data []byte) []byte {
			begin := r.IntN(len(data))
			for i := begin; i < min(begin+1+r.IntN(512), len(data)); i++ {
				data[i] = byte(r.Uint32())
			}
			return data
		}},
		{"all garbage", func(r *rand.Rand, data []byte) []byte {
			for i := range data {
				data[i] = byte(r.Uint32())
			}
			return data
		}},
		{"pages swapped", func(r *rand.Rand, data []byte) []byte {
			a, b := r.IntN(len(data)/4096)*4096, r.IntN(len(data)/4096)*4096
			page := bytes.Clone(data[a : a+4096])
			copy(data[a:a+4096], data[b:b+4096])
			copy(data[b:b+4096], page)
			return data
		}},
		{"a page of an earlier time", func(r *rand.Rand, data []byte) []byte {
			a, b := r.IntN(len(data)/4096)*4096, r.IntN(len(data)/4096)*4096
			copy(data[a:a+4096], data[b:b+4096])
			copy(data[a:a+8], binary.NativeEndian.AppendUint64(nil, uint64(a/4096)))
			return data
		}},
	}
}
