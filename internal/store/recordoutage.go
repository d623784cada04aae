package store

import (
	"maps"
	"net/netip"
	"slices"

	"smtpban/internal/ban"
)

type jsonLogin struct {
	Record string  `json:"record"`
	Prefix string  `json:"prefix"`
	At     *string `json:"at"`
}

func showLogin(key, value []byte) (any, error) {
	l, err := decodeLogin(key, value)
	if err != nil {
		return nil, err
	}
	var o outward
	at := o.time(l.At)
	return jsonLogin{"login", l.Prefix.String(), &at}, o.err
}

func (j jsonLogin) record(in *inward) Record {
	return Record{pair: pair{key: prefixKey(in.prefix(j.Prefix)), value: encodeTime(in.time("at", j.At))}}
}

type jsonOutage struct {
	Record     string       `json:"record"`
	Since      *string      `json:"since"`
	Fault      *string      `json:"fault"` // null where the server told of none
	Recognised bool         `json:"recognised"`
	Confirmed  bool         `json:"confirmed"`
	Held       bool         `json:"held"`
	Victims    []jsonVictim `json:"victims"`
}

type jsonVictim struct {
	Prefix string  `json:"prefix"`
	Last   *string `json:"last"`
	Start  *string `json:"start"` // of a ban that may be for the outage; null where there is none
	Until  *string `json:"until"`
}

func showOutage(_, value []byte) (any, error) {
	x, err := decodeOutage(value)
	if err != nil {
		return nil, err
	}
	var o outward
	shown := jsonOutage{"outage", o.known(x.Since), o.known(x.Fault), x.Recognised, x.Confirmed, x.Held, []jsonVictim{}}
	for _, prefix := range slices.SortedFunc(maps.Keys(x.Victims), ban.ComparePrefix) {
		v := x.Victims[prefix]
		shown.Victims = append(shown.Victims, jsonVictim{prefix.String(), o.known(v.Last), o.known(v.Start), o.known(v.Until)})
	}
	return shown, o.err
}

func (j jsonOutage) record(in *inward) Record {
	x := ban.Outage{
		Since: in.known("since", j.Since), Fault: in.known("fault", j.Fault),
		Recognised: j.Recognised, Confirmed: j.Confirmed, Held: j.Held,
	}
	for _, v := range j.Victims {
		if x.Victims == nil {
			x.Victims = map[netip.Prefix]ban.Victim{}
		}
		prefix := in.prefix(v.Prefix)
		if _, twice := x.Victims[prefix]; twice {
			in.fail("victims.prefix", "%s is there twice", prefix)
		}
		x.Victims[prefix] = ban.Victim{Last: in.known("victims.last", v.Last), Start: in.known("victims.start", v.Start), Until: in.known("victims.until", v.Until)}
	}
	return Record{pair: pair{key: keyOutage, value: encodeOutage(x)}}
}
