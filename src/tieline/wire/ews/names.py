"""Namespaces, and where each call goes."""

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
MESSAGE = "http://www.ercot.com/schema/2007-06/nodal/ews/message"
EWS = "http://www.ercot.com/schema/2007-06/nodal/ews"
NOTIFICATION = "http://www.ercot.com/schema/2007-06/nodal/notification"
DS = "http://www.w3.org/2000/09/xmldsig#"
_WSS = "docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
WSSE = f"http://{_WSS}wssecurity-secext-1.0.xsd"
WSU = f"http://{_WSS}wssecurity-utility-1.0.xsd"
WSSE_READ = (WSSE, f"http://www.{_WSS}wssecurity-secext-1.0.xsd")
"""The standard's name, and the one with `www.` that the market's own schemas and its annotated example give."""
WSU_READ = (WSU, f"http://www.{_WSS}wssecurity-utility-1.0.xsd")
BASE64 = f"http://{_WSS}soap-message-security-1.0#Base64Binary"
X509_V3 = f"http://{_WSS}x509-token-profile-1.0#X509v3"
EXC_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
TRANSACTIONS, INFO = "MarketTransactions", "MarketInfo"
ACTION = "/BusinessService/NodalService.serviceagent/HttpEndPoint/"
NOTIFY_ACTION = "Notify"
