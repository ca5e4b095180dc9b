// What one looks at: the workbook "Vision Relay" of the Application Insights component. Its text is workbook.json.
param location string
param tags object
param applicationInsightsName string

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'vision-relay')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Vision Relay'
    category: 'workbook'
    version: 'Notebook/1.0'
    sourceId: applicationInsights.id
    serializedData: loadTextContent('workbook.json')
  }
}

output id string = workbook.id
