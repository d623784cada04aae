package report

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"io"
	"strconv"
)

// WriteBansJSON writes the bans as a JSON array, one after the other: there may be
// many.
func WriteBansJSON(w io.Writer, bans []Ban) error {
	if len(bans) == 0 {
		return WriteJSON(w, []jsonBan{})
	}
	out := bufio.NewWriter(w)
	separator := "[\n  "
	for _, b := range bans {
		text, err := encoded(b.toJSON(), "  ", "  ")
		if err != nil {
			return err
		}
		out.WriteString(separator)
		out.Write(bytes.TrimSuffix(text, []byte("\n")))
		separator = ",\n  "
	}
	out.WriteString("\n]\n")
	return out.Flush()
}

// WriteBansCSV writes the bans after RFC 4180, below the names that they have in JSON.
// What is null there is empty.
func WriteBansCSV(w io.Writer, bans []Ban) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	out.Write([]string{"prefix", "class", "failures", "start", "until", "count", "origin", "reason", "route", "held"})
	known := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	for _, b := range bans {
		j := b.toJSON()
		out.Write([]string{
			j.Prefix.String(), known(j.Class), strconv.Itoa(j.Failures), j.Start, known(j.Until), strconv.Itoa(j.Count),
			Printable(j.Origin), Printable(j.Reason), strconv.FormatBool(j.Route), strconv.FormatBool(j.Held),
		})
	}
	out.Flush()
	return out.Error()
}

// WriteBansPlain writes the prefix of each ban on a line.
func WriteBansPlain(w io.Writer, bans []Ban) error {
	out := bufio.NewWriter(w)
	for _, b := range bans {
		out.WriteString(b.Prefix.String())
		out.WriteByte('\n')
	}
	return out.Flush()
}
