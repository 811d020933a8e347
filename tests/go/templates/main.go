// Asks Alertmanager what it makes of the texts in golden.jsonl, and writes them with its answers:
//
//	GOFLAGS=-mod=mod go run . < ../../../api/src/notify/wording/golden.jsonl > new.jsonl
//
// The alerts are those of `three` in api/src/notify/wording/tests.rs.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"net/url"
	"os"
	"time"

	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/alertmanager/types"
	"github.com/prometheus/common/model"
)

type answer struct {
	Form  string  `json:"form"`
	Text  string  `json:"text"`
	Out   *string `json:"out,omitempty"`
	Fails bool    `json:"fails,omitempty"`
}

func at(text string) time.Time {
	found, err := time.Parse(time.RFC3339, text)
	if err != nil {
		log.Fatal(err)
	}
	return found
}

func alert(host, start, end string, labels, annotations model.LabelSet) *types.Alert {
	made := &types.Alert{}
	made.Labels = model.LabelSet{"alertname": "Hot", "host": model.LabelValue(host), "severity": "page"}.Merge(labels)
	made.Annotations = annotations
	made.StartsAt = at(start)
	made.GeneratorURL = "http://foreshock.example/hosts/" + host
	if end != "" {
		made.EndsAt = at(end)
	}
	return made
}

func main() {
	templates, err := template.FromGlobs(nil)
	if err != nil {
		log.Fatal(err)
	}
	if templates.ExternalURL, err = url.Parse("http://foreshock.example"); err != nil {
		log.Fatal(err)
	}
	data := templates.Data("team", model.LabelSet{"alertname": "Hot"}, model.LabelSet{}, "first notification",
		alert("db-1", "2026-01-01T00:00:00Z", "", model.LabelSet{"zone": "<a&b>"},
			model.LabelSet{"summary": `db-1 is "hot"`, "runbook": "https://wiki.example/x?a=1&b=2"}),
		alert("db-2", "2025-12-31T22:15:30.25Z", "", nil,
			model.LabelSet{"summary": "db-2 is hot + bothered", "runbook": "javascript:alert(1)"}),
		alert("web-1", "2025-12-31T20:00:00Z", "2025-12-31T23:30:00Z", nil, model.LabelSet{"summary": "it's over"}))
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for lines.Scan() {
		var asked answer
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			log.Fatal(err)
		}
		execute := templates.ExecuteTextString
		if asked.Form == "html" {
			execute = templates.ExecuteHTMLString
		}
		said := answer{Form: asked.Form, Text: asked.Text}
		if text, err := execute(asked.Text, data); err != nil {
			said.Fails = true
		} else {
			said.Out = &text
		}
		if err := out.Encode(said); err != nil {
			log.Fatal(err)
		}
	}
}
