package main

// rows are those of the table, in order.
func rows() []row {
	return []row{
		{"1", "analysis of the whole journal, all classes on", scan},
		{"2", "the same beside fail2ban-regex, mode=auth", besideFail2ban},
		{"3", "the same beside journalctl -o cat with the same match", besideJournalctl},
		{"4", "a run with nothing new, 14 files, 1,000 bans", idle},
		{"5", "the same with more files", manyFiles},
		{"6", "a run with 1,000 new entries", news},
		{"7", "system calls of a run with nothing new", systemCalls},
		{"8", "100,000 routes", routes},
		{"9", "restore of 100,000 bans", restore},
		{"10", "100,000 new bans in the state", newBans},
		{"11", "anonymous memory", memory},
		{"12", "size and start", start},
		{"13", "1,000,000 bans", million},
	}
}
