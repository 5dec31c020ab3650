//! The SCIM clients: an HR system that is fed from the same source as okta, and a payroll system that is not.

use serde_json::{Value, json};

use super::event::OF_PERSON;
use super::facts::AccountFacts;
use super::people::Person;
use super::provider::subject;
use super::simulation::Simulation;

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// The number of okta among the providers.
const OKTA: usize = 1;

impl Simulation {
    /// One of the accounts, in a store if one is given.
    pub(crate) fn account(&self, number: u8, store: Option<&str>) -> Option<(String, AccountFacts)> {
        let accounts = self.facts.accounts.iter();
        let fit: Vec<_> = accounts
            .filter(|(_, account)| store.is_none_or(|store| account.store == store))
            .collect();
        let of_person = number.checked_sub(OF_PERSON).map(Person::nth);
        let is_theirs = |person: Person| move |id: &String| self.truth.owners.get(id) == Some(&person);
        let (id, account) = match of_person {
            Some(person) => fit.iter().find(|(id, _)| is_theirs(person)(id))?,
            None => fit.get(usize::from(number) % fit.len().max(1))?,
        };
        Some(((*id).clone(), (*account).clone()))
    }

    /// The HR system creates a person, mostly under the subject that okta knows, sometimes with a password.
    pub(crate) fn hr_creates(&mut self, process: usize, [who, how]: [u8; 2]) {
        let person = Person::nth(who);
        let mut body = json!({
            "schemas": [USER],
            "userName": person.name(),
            "externalId": subject(OKTA, person),
            "emails": [{"value": person.address(), "type": "work"}],
        });
        let password = (how % 3 == 0).then(|| self.knowledge[person.0].new_password(person));
        if let Some(password) = &password {
            body["password"] = json!(password);
        }
        let token = self.hr.clone();
        let before = self.facts.clone();
        let answer = self.call(process, ("POST", "/scim/v2/Users"), &token, &body);
        let id = answer.json()["id"]
            .as_str()
            .map(str::to_owned)
            .filter(|_| answer.status < 300);
        let Some(id) = id else { return };
        // A client that creates a person again takes back its own statement that they are gone.
        if self.truth.switched_off.get(&id) == Some(&"hr") {
            self.truth.switched_off.remove(&id);
        }
        self.refresh_facts(Some(person));
        self.check_adoption("hr", &id, person, before.accounts.get(&id));
        if let Some(password) = password {
            let hash = |account: Option<&AccountFacts>| account.map(|account| account.password.clone());
            if hash(before.accounts.get(&id)) != hash(self.facts.accounts.get(&id)) {
                self.truth.passwords.insert(id, password.clone());
                self.knowledge[person.0].learn(person.name(), &password);
            }
        }
    }

    /// The payroll system creates a person whom it knows by name alone.
    pub(crate) fn payroll_creates(&mut self, process: usize, who: u8) {
        let person = Person::nth(who);
        let body = json!({"schemas": [USER], "userName": person.name(), "title": "Employee"});
        let token = self.payroll.clone();
        let before = self.facts.clone();
        let answer = self.call(process, ("POST", "/scim/v2/Users"), &token, &body);
        let Some(id) = answer.json()["id"]
            .as_str()
            .filter(|_| answer.status < 300)
            .map(str::to_owned)
        else {
            return;
        };
        if self.truth.switched_off.get(&id) == Some(&"payroll") {
            self.truth.switched_off.remove(&id);
        }
        self.refresh_facts(Some(person));
        if before.accounts.contains_key(&id) && self.truth.typed_names.contains(&id) {
            self.breaks("an account with a typed name is not adopted", person.name());
        }
    }

    /// A client that creates a person gets a new account, or the one that this person made by a login.
    fn check_adoption(&mut self, client: &str, id: &str, person: Person, old: Option<&AccountFacts>) {
        let Some(old) = old else { return };
        let owner = self.truth.owners.get(id).copied();
        if owner.is_some_and(|owner| owner != person) {
            self.breaks(
                "a client adopts no stranger's account",
                format!("{client} gave {} the account {}", person.name(), old.text("userName")),
            );
        }
    }

    /// A client changes a user of its store.
    pub(crate) fn client_changes(&mut self, client: &'static str, process: usize, [who, what, how]: [u8; 3]) {
        let Some((id, account)) = self.account(who, Some("PRIMARY")) else {
            return;
        };
        let token = if client == "hr" {
            self.hr.clone()
        } else {
            self.payroll.clone()
        };
        let path = format!("/scim/v2/Users/{id}");
        let replace = |path: &str, value: Value| json!({"schemas": [PATCH], "Operations": [{"op": "replace", "path": path, "value": value}]});
        let name = account.text("userName").to_owned();
        match what % 16 {
            0..=2 => {
                let answer = self.call(process, ("PATCH", &path), &token, &replace("active", json!(false)));
                if answer.status < 300 {
                    self.truth.switched_off.insert(id, client);
                }
            }
            3 | 4 => {
                self.truth.switched_off.remove(&id);
                self.call(process, ("PATCH", &path), &token, &replace("active", json!(true)));
            }
            5 => {
                let body = json!({"schemas": [USER], "userName": name, "active": false});
                let answer = self.call(process, ("PUT", &path), &token, &body);
                if answer.status < 300 {
                    self.truth.switched_off.insert(id, client);
                }
            }
            6 => {
                let body = json!({"schemas": [USER], "userName": name, "title": "Manager"});
                self.call(process, ("PUT", &path), &token, &body);
            }
            7 if how % 4 == 0 => drop(self.call(process, ("DELETE", &path), &token, &Value::Null)),
            8 | 9 => {
                let owner = self.truth.owners.get(&id).copied().unwrap_or(Person(0));
                let password = self.knowledge[owner.0].new_password(owner);
                self.call(process, ("PATCH", &path), &token, &replace("password", json!(password)));
                self.take_in_password(&id, owner, &password);
            }
            12 | 13 => self.client_corrects_addresses((&id, &path), process, &token, how),
            14 | 15 if client == "hr" => self.hr_corrects_subject((&id, &account), process, how),
            _ => drop(self.call(
                process,
                ("PATCH", &path),
                &token,
                &replace("title", json!(format!("T{how}"))),
            )),
        }
    }

    /// A client gives a user their own address, another person's, or none.
    fn client_corrects_addresses(&mut self, (id, path): (&str, &str), process: usize, token: &str, how: u8) {
        let owner = self.truth.owners.get(id).copied();
        let to = match how % 4 {
            0 => None,
            1 => Some(Person::nth(how / 4)),
            _ => owner,
        };
        let emails = to.map(|person| json!({"value": person.address(), "type": "work"}));
        let emails: Vec<Value> = emails.into_iter().collect();
        let operation = json!({"op": "replace", "path": "emails", "value": emails});
        let body = json!({"schemas": [PATCH], "Operations": [operation]});
        let answer = self.call(process, ("PATCH", path), token, &body);
        if answer.status < 300 && to.is_some() && owner.is_some() && to != owner {
            self.truth.compromised.insert(id.to_owned());
        }
    }
    /// The HR system says that an account, which it gave to somebody by mistake, is another person's.
    fn hr_corrects_subject(&mut self, (id, account): (&str, &AccountFacts), process: usize, how: u8) {
        let (person, old) = (Person::nth(how), account.text("externalId"));
        let new = subject(OKTA, person);
        // A subject of another provider says nothing about this one.
        if old == new || !Person::all().any(|known| subject(OKTA, known) == old) {
            return;
        }
        let emails = json!([{"value": person.address(), "type": "work"}]);
        let replace = |path: &str, value: Value| json!({"op": "replace", "path": path, "value": value});
        let operations = [replace("externalId", json!(new)), replace("emails", emails)];
        let body = json!({"schemas": [PATCH], "Operations": operations});
        let (token, path) = (self.hr.clone(), format!("/scim/v2/Users/{id}"));
        let answer = self.call(process, ("PATCH", &path), &token, &body);
        if answer.status >= 300 {
            return;
        }
        self.truth.owners.insert(id.to_owned(), person);
        self.truth.leaked.remove(id);
        self.truth.compromised.remove(id);
        self.truth.push(id, self.step, None, true);
        self.refresh_facts(None);
        self.check_handover(id, &new);
    }
}
