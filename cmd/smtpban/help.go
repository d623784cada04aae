package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"smtpban/man"
)

func newHelpCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND|TOPIC]",
		Short: "Show the usage of a command, or a part of the manual",
		Args:  cobra.ArbitraryArgs,
		RunE:  func(cmd *cobra.Command, args []string) error { return a.help(cmd.Root(), args) },
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begun string) (names []string, _ cobra.ShellCompDirective) {
			if len(args) == 0 {
				names = completeHelp(cmd.Root(), begun)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// help shows the usage of a command, a topic, or without any of these the usage of
// smtpban and which topics there are.
func (a *app) help(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.Join(root.Help(), a.listTopics())
	}
	found, rest, err := root.Find(args)
	if err == nil && found != root && len(rest) == 0 {
		found.InitDefaultHelpFlag() // cobra does that only for what it runs
		return found.Help()
	}
	for _, topic := range man.Topics() {
		if len(args) == 1 && topic.Name == args[0] {
			return topic.Write(a.stdout, cmp.Or(width(a.stdout), usualWidth), coloured(a.stdout))
		}
	}
	hint := "smtpban help lists them"
	if near := nearby(root, args[0]); len(args) == 1 && len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageError{fmt.Errorf("there is no command and no topic %q; %s", strings.Join(args, " "), hint)}
}

// nearby returns the commands and topics for which the word may be a slip. Cobra
// knows which commands are; so the topics are some for once.
func nearby(root *cobra.Command, word string) []string {
	all := &cobra.Command{SuggestionsMinimumDistance: 2} // letters
	all.AddCommand(root.Commands()...)
	for _, topic := range man.Topics() {
		all.AddCommand(&cobra.Command{Use: topic.Name, Run: func(*cobra.Command, []string) {}})
	}
	return all.SuggestionsFor(word)
}

func completeHelp(root *cobra.Command, begun string) (names []string) {
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && strings.HasPrefix(c.Name(), begun) {
			names = append(names, c.Name()+"\t"+c.Short)
		}
	}
	for _, topic := range man.Topics() {
		if strings.HasPrefix(topic.Name, begun) {
			names = append(names, topic.Name+"\t"+topic.Parts[0].Page+": "+topic.Parts[0].Title)
		}
	}
	return names
}

// listTopics writes the names in lines that any terminal takes.
func (a *app) listTopics() error {
	const columns = 78
	text, width := "\nTopics of the manual:", columns
	for _, topic := range man.Topics() {
		if width += 2 + len(topic.Name); width > columns {
			text, width = text+"\n", 2+len(topic.Name)
		}
		text += "  " + topic.Name
	}
	_, err := fmt.Fprintf(a.stdout, "%s\n\nUse \"smtpban help TOPIC\" to read one, \"man smtpban\" to read all.\n", text)
	return err
}
