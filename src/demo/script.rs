//! The scripted tour over HTTP: prints one line per step and ends at the first failure.

use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::blocking::Client;
use serde_json::{Value, json};

use super::DemoError;
use super::browser::{Browser, Page};
use super::world::{DemoUser, Tour};

/// The longest time for a change to reach the other side.
const PATIENCE: Duration = Duration::from_secs(20);

/// The result of a step, or the reason of its failure.
type StepResult = Result<String, String>;

/// One step of the tour.
type TourStep = fn(&TourRun) -> StepResult;

/// Runs the tour.
pub(super) fn walk(tour: &Tour) -> Result<(), DemoError> {
    println!("Three Vestibules and a wiki run on this machine:");
    println!("  acme  a company's identity provider      {}", tour.acme);
    println!("  hub   login and outbound provisioning    {}", tour.hub);
    println!("  saas  a system that needs user accounts  {}", tour.saas);
    println!("  wiki  an application that people use     {}", tour.wiki);
    println!();
    let walk = TourRun::new(tour).map_err(DemoError::start)?;
    let steps: [(&'static str, TourStep); 9] = [
        ("All of them are up", TourRun::up),
        (
            "The wiki's HR system creates Grace at the hub, through SCIM",
            TourRun::create,
        ),
        ("The hub pushes Grace on to saas", TourRun::pushed),
        (
            "Ada opens the wiki, logs in at acme, and gets her account at that login",
            TourRun::login,
        ),
        ("The hub pushes Ada on to saas, too", TourRun::jit_pushed),
        ("Ada logs in again: no second account, nothing changed", TourRun::again),
        (
            "Ada gets a new title at the hub; saas receives only that change",
            TourRun::updated,
        ),
        (
            "Ada leaves: disabled at the hub, disabled at saas, and her login is refused",
            TourRun::leaves,
        ),
        ("Grace is deleted at the hub, and is gone from saas", TourRun::deleted),
    ];
    let count = steps.len();
    for (at, (step, run)) in steps.into_iter().enumerate() {
        let begun = Instant::now();
        match run(&walk) {
            Ok(seen) => {
                println!("[{}/{count}] {step}", at + 1);
                println!("      {seen} ({} ms)", begun.elapsed().as_millis());
            }
            Err(cause) => return Err(DemoError::Step { step, cause }),
        }
    }
    println!();
    println!("All steps succeeded. Take the tour yourself with `vestibule demo`.");
    Ok(())
}

struct TourRun {
    tour: Tour,
    ada: DemoUser,
    client: Client,
}

impl TourRun {
    fn new(tour: &Tour) -> Result<Self, String> {
        let client = Client::builder()
            .no_proxy()
            .build()
            .map_err(|error| error.to_string())?;
        let ada = tour.people.first().ok_or("acme has nobody")?.clone();
        Ok(Self {
            tour: tour.clone(),
            ada,
            client,
        })
    }

    fn up(&self) -> StepResult {
        for url in [&self.tour.acme, &self.tour.hub, &self.tour.saas] {
            until("it is not ready", || {
                let ready = self.client.get(format!("{url}/readyz")).send();
                Ok(ready.is_ok_and(|answer| answer.status().is_success()).then_some(()))
            })?;
        }
        Ok("GET /readyz answers 200 three times".to_owned())
    }

    fn create(&self) -> StepResult {
        let grace = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": "grace@acme.example",
            "name": { "givenName": "Grace", "familyName": "Hopper" },
            "emails": [{ "value": "grace@acme.example", "type": "work" }],
        });
        let (status, made) = self.hub(Method::POST, "/Users", Some(&grace))?;
        expect(status == 201, || format!("the hub answers {status}: {made}"))?;
        Ok(format!("POST /scim/v2/Users answers 201 with id {}", text(&made["id"])))
    }

    fn pushed(&self) -> StepResult {
        let there = self.at_saas("grace@acme.example")?;
        Ok(format!("saas has her under its own id {}", text(&there["id"])))
    }

    fn login(&self) -> StepResult {
        let page = self.log_in()?;
        let greeted = page.url.as_str().starts_with(&self.tour.wiki) && page.body.contains(self.ada.given_name);
        expect(greeted, || format!("she ended at {} on “{}”", page.url, page.heading()))?;
        let user = self
            .at_hub(self.ada.user_name)?
            .ok_or("the hub has no account for her")?;
        Ok(format!(
            "the wiki says “Welcome, {}”; her account is {}",
            self.ada.given_name,
            text(&user["id"])
        ))
    }

    fn jit_pushed(&self) -> StepResult {
        let there = self.at_saas(self.ada.user_name)?;
        let name = &there["name"]["familyName"];
        expect(*name == self.ada.family_name, || format!("saas has {there}"))?;
        Ok(format!(
            "saas has her as {} {}",
            text(&there["name"]["givenName"]),
            text(name)
        ))
    }

    fn again(&self) -> StepResult {
        let before = self.at_hub(self.ada.user_name)?.ok_or("her account is gone")?;
        self.log_in()?;
        let after = self.at_hub(self.ada.user_name)?.ok_or("her account is gone")?;
        expect(before == after, || format!("it was {before} and is {after}"))?;
        Ok(format!("version {} as before", text(&after["meta"]["version"])))
    }

    fn updated(&self) -> StepResult {
        let id = self.id_of_ada()?;
        self.patch(
            &id,
            &json!([{ "op": "add", "path": "title", "value": "Countess of Computing" }]),
        )?;
        until("saas has not heard of it", || {
            let there = self.saas(self.ada.user_name)?;
            Ok(there.filter(|user| user["title"] == "Countess of Computing"))
        })?;
        Ok("PATCH at the hub, PATCH to saas".to_owned())
    }

    fn leaves(&self) -> StepResult {
        let id = self.id_of_ada()?;
        self.patch(&id, &json!([{ "op": "replace", "path": "active", "value": false }]))?;
        until("saas still has her active", || {
            let there = self.saas(self.ada.user_name)?;
            Ok(there.filter(|user| user["active"] == false))
        })?;
        let page = self.log_in()?;
        expect(page.status == 403, || {
            format!("she got to {} on “{}”", page.url, page.heading())
        })?;
        Ok(format!(
            "active is false on both sides; the hub tells her “{}”",
            page.heading().trim()
        ))
    }

    fn deleted(&self) -> StepResult {
        let grace = self.at_hub("grace@acme.example")?.ok_or("she is not there")?;
        let (status, answer) = self.hub(Method::DELETE, &format!("/Users/{}", text(&grace["id"])), None)?;
        expect(status == 204, || format!("the hub answers {status}: {answer}"))?;
        until("saas still has her", || {
            Ok(self.saas("grace@acme.example")?.is_none().then_some(()))
        })?;
        Ok("DELETE at the hub, DELETE to saas".to_owned())
    }

    /// Logs Ada in with a new browser: the wiki, the hub's chooser, acme's login, and back.
    fn log_in(&self) -> Result<Page, String> {
        let mut browser = Browser::new()?;
        let page = browser.open(&format!("{}/login", self.tour.wiki))?;
        let page = browser.submit(page.form("/login/idp", "acme")?, &[("identity_provider", "acme")])?;
        let form = page.form("/login/password", "password")?;
        browser.submit(
            form,
            &[("username", self.ada.user_name), ("password", &self.ada.password)],
        )
    }

    fn id_of_ada(&self) -> Result<String, String> {
        let user = self
            .at_hub(self.ada.user_name)?
            .ok_or("the hub has no account for her")?;
        Ok(text(&user["id"]).to_owned())
    }

    fn patch(&self, id: &str, operations: &Value) -> Result<(), String> {
        let body = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations });
        let (status, answer) = self.hub(Method::PATCH, &format!("/Users/{id}"), Some(&body))?;
        expect(status == 200, || format!("the hub answers {status}: {answer}"))
    }

    fn at_hub(&self, user_name: &str) -> Result<Option<Value>, String> {
        self.found(&self.tour.hub, &self.tour.hub_token, user_name)
    }

    fn saas(&self, user_name: &str) -> Result<Option<Value>, String> {
        self.found(&self.tour.saas, &self.tour.saas_token, user_name)
    }

    fn at_saas(&self, user_name: &str) -> Result<Value, String> {
        until("saas has not heard of it", || self.saas(user_name))
    }

    fn found(&self, base: &str, token: &str, user_name: &str) -> Result<Option<Value>, String> {
        let filter: String =
            url::form_urlencoded::byte_serialize(format!("userName eq \"{user_name}\"").as_bytes()).collect();
        let (status, list) = send(
            self.client.get(format!("{base}/scim/v2/Users?filter={filter}")),
            token,
            None,
        )?;
        expect(status == 200, || format!("{base} answers {status}: {list}"))?;
        Ok(list["Resources"].get(0).cloned())
    }

    fn hub(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Value), String> {
        let request = self.client.request(method, format!("{}/scim/v2{path}", self.tour.hub));
        send(request, &self.tour.hub_token, body)
    }
}

/// Sends a SCIM request with a token.
fn send(request: reqwest::blocking::RequestBuilder, token: &str, body: Option<&Value>) -> Result<(u16, Value), String> {
    let mut request = request.bearer_auth(token);
    if let Some(body) = body {
        request = request
            .header("Content-Type", "application/scim+json")
            .body(body.to_string());
    }
    let answer = request.send().map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    let text = answer.text().map_err(|error| error.to_string())?;
    Ok((status, serde_json::from_str(&text).unwrap_or_default()))
}

/// Polls until there is a result.
fn until<T>(cause: &str, look: impl Fn() -> Result<Option<T>, String>) -> Result<T, String> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("{cause} after {} seconds", PATIENCE.as_secs()))
}

fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}
