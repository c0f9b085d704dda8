explorerOf(document.getElementById("explorer"), document.getElementById("space"));
