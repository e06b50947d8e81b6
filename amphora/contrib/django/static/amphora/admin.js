"use strict";
// Shows the signature and the documentation of the function that the form names.
{
    const field = document.getElementById("id_function");
    const show = () => {
        for (const about of document.querySelectorAll(".amphora-about")) {
            about.hidden = about.dataset.function !== field.value;
        }
    };
    if (field !== null) {
        field.addEventListener("input", show);
        show();
    }
}
