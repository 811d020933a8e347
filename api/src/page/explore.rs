//! A place to ask: PromQL with table and chart, SQL with a table. The question is in the URL, so it can be shared.

use axum::extract::{Request, State};
use axum::response::Response;
use maud::{Markup, html};

use crate::app::App;
use crate::params::{DEFAULT_TENANT, Scope, parse_duration};

use super::charts::RANGES;
use super::layout::{Section, answer, encoded, href};

const PROMQL: [&str; 4] = [
    "max by (host) (foreshock_failure_probability)",
    "topk(5, foreshock_anomaly_score)",
    "sort(foreshock_time_to_limit_seconds)",
    "count by (__name__) ({__name__!=\"\"})",
];
const SQL: [&str; 3] = [
    "SELECT metric, count(*) AS samples FROM samples GROUP BY metric ORDER BY samples DESC LIMIT 20",
    "SELECT host, max(value) AS probability FROM samples WHERE metric = 'foreshock_failure_probability' GROUP BY host ORDER BY 2 DESC",
    "SELECT * FROM incidents ORDER BY start DESC LIMIT 50",
];

/// `GET /explore?q=&language=&range=`
pub(crate) async fn show(State(app): State<App>, request: Request) -> Response {
    answer(&app, request, Section::Explore, "Explore", async |scope| {
        Ok(body(scope))
    })
    .await
}

fn body(scope: &Scope) -> Markup {
    let is_sql = scope.params.get("language") == Some("sql");
    let language = if is_sql { "sql" } else { "promql" };
    let query = scope.params.get("q").unwrap_or("");
    let range = scope.params.get("range").unwrap_or("1h");
    let range_s = parse_duration(range).map_or(3600, |ms| ms / 1000);
    let tenant = scope.tenant.as_str();
    let examples: &[&str] = if is_sql { &SQL } else { &PROMQL };
    html! {
        div.head { h1 { "Explore" } p.small { "Ctrl+Enter asks" } }
        div.card { div.body.pad {
            form.query action="/explore" method="get" {
                @if tenant != DEFAULT_TENANT { input type="hidden" name="tenant" value=(tenant); }
                label { "Query"
                    textarea name="q" rows="3" spellcheck="false" autocapitalize="off" autocomplete="off" autofocus[query.is_empty()] { (query) }
                }
                div.row {
                    label { "Language"
                        select name="language" {
                            option value="promql" selected[!is_sql] { "PromQL" }
                            option value="sql" selected[is_sql] { "SQL" }
                        }
                    }
                    label { "Chart over"
                        select name="range" { @for (name, _) in RANGES { option value=(name) selected[name == range] { (name) } } }
                    }
                    button.primary type="submit" { "Ask" }
                    span #took.muted.small role="status" {}
                }
            }
        } }
        @if query.is_empty() {
            div.card {
                header { h2 { "To begin with" } }
                ul.events { @for example in examples {
                    li { span.when { (if is_sql { "SQL" } else { "PromQL" }) } a.what href=(href(&format!("/explore?language={language}&q={}", encoded(example)), tenant)) { code { (example) } } span {} }
                } }
            }
        } @else {
            @if !is_sql { figure.card.chart.tall.hidden #graph data-title="Query" data-unit="" data-range=(range_s) {} }
            div.card { div #answer aria-live="polite" data-language=(language) data-query=(query) data-range=(range_s) {
                div.empty { "Asking…" }
            } }
        }
    }
}
