//! The tour in words and links, for a person at a browser.

use super::world::Tour;

/// Prints it.
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
    println!("  hub   the front door and the pipe          {hub}");
    println!("  acme  a company's identity provider        {acme}");
    println!("  saas  a system that must know who is who   {saas}");
    println!();
    println!("A tour of two minutes:");
    println!();
    println!("1. Open {wiki} and log in. At the hub choose Acme Corporation. At acme you are");
    for (at, person) in tour.people.iter().enumerate() {
        let or = if at > 0 { "or " } else { "   " };
        println!("     {or}{}   password {}", person.user_name, person.password);
    }
    println!("   Nobody made an account for you at the hub: it came to be as you came through the door.");
    println!();
    println!("2. See it at the hub, and see that saas has been told:");
    println!("     curl -s -H 'Authorization: Bearer {hub_token}' {hub}/scim/v2/Users");
    println!("     curl -s -H 'Authorization: Bearer {saas_token}' {saas}/scim/v2/Users");
    println!();
    println!("3. Create somebody through SCIM, as an HR system would, and look at saas again:");
    println!("     curl -s -H 'Authorization: Bearer {hub_token}' -H 'Content-Type: application/scim+json' \\");
    println!(
        "       -d '{{\"userName\":\"grace@acme.example\",\"name\":{{\"familyName\":\"Hopper\"}}}}' {hub}/scim/v2/Users"
    );
    println!();
    println!("4. Switch yourself off (put your id from step 2 in place of ID), then try to log in again:");
    println!(
        "     curl -s -X PATCH -H 'Authorization: Bearer {hub_token}' -H 'Content-Type: application/scim+json' \\"
    );
    println!(
        "       -d '{{\"Operations\":[{{\"op\":\"replace\",\"path\":\"active\",\"value\":false}}]}}' {hub}/scim/v2/Users/ID"
    );
    println!();
    println!("`vestibule demo --script` walks it all by itself. Ctrl-C ends this one and removes its data.");
}
