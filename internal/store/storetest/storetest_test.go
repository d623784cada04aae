package storetest

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// state returns six pages that differ in every byte from each other.
func state() []byte {
	data := make([]byte, 6*4096)
	for i := range data {
		data[i] = byte(i/4096*40 + i%31)
	}
	return data
}

func TestEveryDamageBreaksAStateAndCanBeRepeated(t *testing.T) {
	for _, d := range Damages() {
		t.Run(d.Name, func(t *testing.T) {
			const rounds = 50
			broken := 0
			for seed := range uint64(rounds) {
				do := func() []byte { return d.Do(rand.New(rand.NewPCG(seed, 0)), state()) }
				once := do()
				if len(once) > len(state()) {
					t.Fatalf("seed %d: %d bytes became %d", seed, len(state()), len(once))
				}
				if !bytes.Equal(once, do()) {
					t.Fatalf("seed %d: done again it is another damage", seed)
				}
				if !bytes.Equal(once, state()) {
					broken++
				}
			}
			if broken < rounds/2 { // a page may be swapped with itself
				t.Errorf("only %d of %d states were broken", broken, rounds)
			}
		})
	}
}
