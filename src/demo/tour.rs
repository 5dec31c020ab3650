//! The printed tour, for a person with a browser.

use super::world::Tour;

/// Prints the tour.
pub(super) fn print(tour: &Tour) {
    let Tour {
        acme,
        hub,
        saas,
        wiki,
        hub_token,
        saas_token,
        ..
    } = tour;
    println!(
        "Three Vestibules and a wiki run on this machine, with their data in {}.",
        tour.folder.display()
    );
    println!();
    println!("  wiki  an application that people use       {wiki}");
    println!("  hub   login and outbound provisioning      {hub}");
    println!("  acme  a company's identity provider        {acme}");
    println!("  saas  a system that needs user accounts    {saas}");
    println!();
    println!("A two-minute tour:");
    println!();
    println!("1. Open {wiki} and log in. At the hub choose Acme Corporation. At acme you are");
    for (at, person) in tour.people.iter().enumerate() {
        let or = if at > 0 { "or " } else { "   " };
        println!("     {or}{}   password {}", person.user_name, person.password);
    }
    println!("   Your account at the hub was created at this first login.");
    println!();
    println!("2. Look at your account at the hub, and at saas, where the hub has created it too:");
    println!("     curl -s -H 'Authorization: Bearer {hub_token}' {hub}/scim/v2/Users");
    println!("     curl -s -H 'Authorization: Bearer {saas_token}' {saas}/scim/v2/Users");
    println!();
    println!("3. Create a user through SCIM, as an HR system would, and look at saas again:");
    println!("     curl -s -H 'Authorization: Bearer {hub_token}' -H 'Content-Type: application/scim+json' \\");
    println!(
        "       -d '{{\"userName\":\"grace@acme.example\",\"name\":{{\"familyName\":\"Hopper\"}}}}' {hub}/scim/v2/Users"
    );
    println!();
    println!("4. Disable your account (put your id from step 2 in place of ID), then try to log in again:");
    println!(
        "     curl -s -X PATCH -H 'Authorization: Bearer {hub_token}' -H 'Content-Type: application/scim+json' \\"
    );
    println!(
        "       -d '{{\"Operations\":[{{\"op\":\"replace\",\"path\":\"active\",\"value\":false}}]}}' {hub}/scim/v2/Users/ID"
    );
    println!();
    println!("`vestibule demo --script` runs the tour by itself. Press Ctrl-C to end the demo and remove its data.");
}
